"""Turns of the tasks of an event loop that append to the same session. The tasks of two loops are two writers."""

import asyncio
from weakref import WeakKeyDictionary, WeakValueDictionary


class Turns:
    """Gives each task its turn."""

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[str, asyncio.Lock]] = (
            WeakKeyDictionary()
        )

    def of(self, workflow: str) -> asyncio.Lock:
        """Return the lock of a session's workflow, for the running loop."""
        locks = self._locks.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
        return locks.setdefault(workflow, asyncio.Lock())
