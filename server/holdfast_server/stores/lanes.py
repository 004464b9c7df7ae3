"""The server's side of the processes that create small files."""

import asyncio
import marshal
import sys
from collections.abc import Sequence
from pathlib import Path

from holdfast_server.stores.base import StoreUnavailableError
from holdfast_server.stores.file_errors import of_failed_create
from holdfast_server.stores.file_lane import LENGTH, Created, frame


class Lane:
    """One such process, for one batch at a time. One that died is started again when it is needed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> asyncio.subprocess.Process:
        """Start the process.

        Raises:
            StoreError: it cannot be started.

        """
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                # Modules of the working folder stay out.
                "-P",
                "-m",
                "holdfast_server.stores.file_lane",
                str(self._root),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise of_failed_create(error.errno or 0, str(self._root), may_exist=False) from error
        return self._process

    async def create_all(self, items: Sequence[tuple[str, bytes]]) -> list[Created]:
        """Create files below the root: what `file_lane.create_all` gives.

        Raises:
            StoreError: the process cannot be started, and nothing was done.
            StoreUnavailableError: the process died; what it was to do may have been done.

        """
        process = await self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(frame(list(items)))
            await process.stdin.drain()
            header = await process.stdout.readexactly(LENGTH.size)
            results: list[Created] = marshal.loads(await process.stdout.readexactly(LENGTH.unpack(header)[0]))
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.close()
            raise StoreUnavailableError("the process that writes files died") from None
        return results

    async def _running(self) -> asyncio.subprocess.Process:
        process = self._process
        if process is not None and process.stdin is not None and process.stdin.is_closing():
            # It died while it had nothing to do.
            await self.close()
        return self._process or await self.start()

    async def close(self) -> None:
        """End the process, once it has done what it was given."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            await process.wait()
