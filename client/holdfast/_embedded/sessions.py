"""The session of one client with a folder: its calls, up to the end of the client."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from itertools import count
from typing import TYPE_CHECKING

from holdfast._core.errors import ClientClosedError
from holdfast._embedded.calls import ERROR, RESULT, Call, ClosedError
from holdfast._embedded.folders import Folder

if TYPE_CHECKING:
    from holdfast._embedded.process import Process

_NUMBERS = count(1)
# How long the end of a session waits for calls that were cancelled, such as one whose file system hangs.
_END_SECONDS = 10.0


class Session:
    """What one client has in one process. Any thread may call the public methods.

    Args:
        process: the embedded clients of this process.
        url: the folder.
        path: its real path.

    """

    def __init__(self, process: "Process", url: str, path: str) -> None:
        self.process = process
        self._url = url
        self._path = path
        # Names the client's connection to the service.
        self._peer = f"embedded:{next(_NUMBERS)}"
        self._calls: set[Call] = set()
        self._opening: asyncio.Task[Folder] | None = None
        self._slots: asyncio.Semaphore | None = None
        self._is_closed = False

    def start(self, call: Call) -> None:
        """Run a call."""
        self.process.post(self._start, call)

    def cancel(self, call: Call) -> None:
        """Cancel a call if it is still running. It may still have events for its caller."""
        # A process that is ending has ended its calls.
        with suppress(ClientClosedError):
            self.process.post(self._cancel, call)

    def close(self, closed: Callable[[], None]) -> None:
        """End all calls with `ClosedError` and give the folder back.

        Args:
            closed: called on the loop of the service when that is done.

        """
        self.process.post(self.begin_close, closed)

    def _start(self, call: Call) -> None:
        if self._is_closed:
            call.emit(ERROR, ClosedError())
            return
        call.begin(self._peer)
        self.process.sessions.add(self)
        self._calls.add(call)
        # A context of its own, as in a server: nothing of the caller's context reaches the service but the metadata.
        call.task = asyncio.get_running_loop().create_task(self._serve(call), context=Context())

    def _cancel(self, call: Call) -> None:
        if call.task is not None:
            call.task.cancel()

    async def _serve(self, call: Call) -> None:
        try:
            folder = await self._folder()
            service = folder.ready.result()
            if self._slots is None:
                self._slots = asyncio.Semaphore(service.calls_per_client)
            async with self._slots:
                result = await call.run(service.service)
        except Exception as error:  # noqa: BLE001 - raised by the caller
            call.emit(ERROR, error)
        else:
            call.emit(RESULT, result)
        finally:
            self._calls.discard(call)

    async def _folder(self) -> Folder:
        """Return the folder, open.

        Raises:
            CallEndedError: it cannot be opened. The next call opens it again.

        """
        if self._opening is None:
            self._opening = asyncio.create_task(self.process.folders.acquire(self._url, self._path))
        opening = self._opening
        folder = opening.result() if opening.done() else await asyncio.shield(opening)
        if not folder.ready.done() or folder.ready.exception() is not None:
            try:
                await folder.service()
            except Exception:
                if self._opening is opening:
                    self._opening = None
                    await self.process.folders.release(folder)
                raise
        return folder

    def begin_close(self, closed: Callable[[], None]) -> None:
        """Do what `close` does. Called on the loop of the service."""
        self._is_closed = True
        self.process.sessions.discard(self)
        tasks = []
        for call in self._calls:
            call.emit(ERROR, ClosedError())
            if call.task is not None:
                call.task.cancel()
                tasks.append(call.task)
        self.process.keep(self._close(tasks, closed))

    async def _close(self, tasks: list[asyncio.Task[None]], closed: Callable[[], None]) -> None:
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=_END_SECONDS)
            if self._opening is not None:
                folder, self._opening = await self._opening, None
                await self.process.folders.release(folder)
        finally:
            closed()
