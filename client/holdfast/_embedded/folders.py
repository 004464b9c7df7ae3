"""The folders that this process has open, each once, however many clients use it."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from holdfast_server.embedded import EmbeddedService, open_folder

_LOG = logging.getLogger("holdfast.embedded")


@dataclass(slots=True, eq=False)
class Folder:
    """A folder that is open, or is being opened or closed.

    Attributes:
        url: where it is.
        ready: its service, or why it cannot be opened.
        task: what keeps it open.
        users: how many sessions use it; it is closed when none does.
        unused: set when none does.

    """

    url: str
    ready: asyncio.Future[EmbeddedService]
    users: int = 0
    unused: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def service(self) -> EmbeddedService:
        """Wait until the folder is open.

        Raises:
            CallEndedError: it cannot be opened.

        """
        return await asyncio.shield(self.ready)


class Folders:
    """The folders of one process, by their real paths. They are opened and closed on the loop of the service."""

    def __init__(self) -> None:
        self._open: dict[str, Folder] = {}

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Suspend every store while the block runs. The loop does not run either."""
        with ExitStack() as stack:
            for folder in self._open.values():
                if folder.ready.done() and folder.ready.exception() is None:
                    stack.enter_context(folder.ready.result().suspended())
            yield

    async def acquire(self, url: str, path: str) -> Folder:
        """Return a folder, which stays open until it is released as often as it was acquired.

        Args:
            url: the folder's URL.
            path: its real path, without symbolic links.

        """
        while (folder := self._open.get(path)) is not None and folder.unused.is_set():
            assert folder.task is not None
            await asyncio.wait([folder.task])
        if folder is None:
            folder = self._open[path] = Folder(url, asyncio.get_running_loop().create_future())
            folder.task = asyncio.create_task(self._keep_open(folder, path))
        folder.users += 1
        return folder

    async def release(self, folder: Folder) -> None:
        """Give a folder back. If no other session uses it, close it and wait for that."""
        folder.users -= 1
        if folder.users:
            return
        folder.unused.set()
        assert folder.task is not None
        await asyncio.wait([folder.task])

    async def _keep_open(self, folder: Folder, path: str) -> None:
        try:
            async with open_folder(folder.url) as service:
                folder.ready.set_result(service)
                await folder.unused.wait()
        except Exception as error:  # noqa: BLE001 - raised by the sessions that wait for the folder
            if folder.ready.done():
                _LOG.exception("a folder could not be closed", extra={"folder": folder.url})
            else:
                folder.ready.set_exception(error)
                # Every session that waits for the folder raises it. There may be none left.
                folder.ready.exception()
        finally:
            # From here on, the next session opens the folder again.
            del self._open[path]
