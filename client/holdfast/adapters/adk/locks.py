"""Locks that let the tasks of one event loop append to a session one at a time. Two loops are two writers."""

import asyncio
from weakref import WeakKeyDictionary, WeakValueDictionary


class SessionLocks:
    """A lock for each session and event loop."""

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[str, asyncio.Lock]] = (
            WeakKeyDictionary()
        )

    def of(self, workflow: str) -> asyncio.Lock:
        """Return the lock of a session's workflow for the running loop."""
        locks = self._locks.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
        return locks.setdefault(workflow, asyncio.Lock())
