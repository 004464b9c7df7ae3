"""The log of a server that runs in the test process, record by record."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager


class Records(logging.Handler):
    """The log records of a test, and an event that each of them sets. Used on a running event loop.

    Attributes:
        messages: what was logged, each message with its error.

    """

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.getMessage()}: {getattr(record, 'error', '')}")
        self._loop.call_soon_threadsafe(self._more.set)

    async def next(self) -> str:
        """Wait for a record after those that earlier calls have returned, and return the newest one."""
        await self._more.wait()
        self._more.clear()
        return self.messages[-1]


@contextmanager
def recording() -> Iterator[Records]:
    """Record the server's log, from INFO on."""
    handler = Records()
    logger = logging.getLogger("holdfast.server")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
