"""Retries of store requests, for work that needs many of them.

One request that a busy store refuses must not undo the work of the others. A call that needs only one request leaves
retries to its caller, so that the retries of two layers do not multiply.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from holdfast_server.stores.base import (
    ObjectStore,
    ObjectSummary,
    ObjectWriter,
    StoredObject,
    StoreUnavailableError,
)

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.1

_Answer = TypeVar("_Answer")


class RetriedStore:
    """An object store whose reads (get and list) are retried if the store is unavailable.

    Each read is sent up to five times, with exponential backoff and full jitter; then the last error is raised. Writes
    are passed on once: whether one may be sent again is for the protocol to decide, see `put_if_absent` there.

    Args:
        store: the store.

    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        return await self._store.put_if_absent(key, data)

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        return await retried(lambda: self._store.get(key, offset=offset, length=length))

    def put(self, key: str) -> AbstractAsyncContextManager[ObjectWriter]:
        """Write an object under a fresh key."""
        return self._store.put(key)

    async def replace(self, key: str, data: bytes) -> None:
        """Replace an object."""
        await self._store.replace(key, data)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """List objects in key order."""
        return await retried(lambda: self._store.list(prefix, start_after=start_after, limit=limit))

    async def copy(self, source: str, target: str) -> bool:
        """Copy an object to a fresh key."""
        return await self._store.copy(source, target)

    async def delete(self, key: str) -> None:
        """Delete an object."""
        await self._store.delete(key)


async def retried(send: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Send a request until the store answers, up to five times, with exponential backoff and full jitter.

    For a store's own requests that may be sent twice, such as the pieces of an upload.

    Raises:
        StoreUnavailableError: of the last attempt.

    """
    for attempt in range(_ATTEMPTS - 1):
        try:
            return await send()
        except StoreUnavailableError:
            await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS * 2**attempt))
    return await send()
