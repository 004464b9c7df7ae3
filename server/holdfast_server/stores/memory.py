"""An object store in memory, for tests of callers: it has every promise but durability."""

import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from holdfast_server.stores.base import ObjectNotFoundError, ObjectSummary, StoredObject


class MemoryStore:
    """Holds objects for as long as the process lives."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._keys: list[str] = []

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        if key in self._objects:
            return False
        self._insert(key, bytes(data))
        return True

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        if key not in self._objects:
            raise ObjectNotFoundError(key)
        data, _ = self._objects[key]
        end = None if length is None else offset + length
        return StoredObject(data=data[offset:end], size_bytes=len(data))

    @asynccontextmanager
    async def put(self, key: str) -> AsyncIterator["_MemoryWriter"]:
        """Write an object under a fresh key."""
        yield _MemoryWriter(self, key)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """List objects in key order."""
        found: list[ObjectSummary] = []
        first = bisect_right(self._keys, start_after) if start_after >= prefix else bisect_left(self._keys, prefix)
        for key in self._keys[first:]:
            if not key.startswith(prefix) or len(found) == limit:
                break
            data, modified = self._objects[key]
            found.append(ObjectSummary(key, len(data), modified))
        return found

    async def delete(self, key: str) -> None:
        """Remove an object."""
        if self._objects.pop(key, None) is not None:
            self._keys.remove(key)

    def _insert(self, key: str, data: bytes) -> None:
        if key not in self._objects:
            insort(self._keys, key)
        self._objects[key] = (data, time.time())


class _MemoryWriter:
    def __init__(self, store: MemoryStore, key: str) -> None:
        self._store = store
        self._key = key
        self._data = bytearray()

    async def write(self, data: bytes) -> None:
        self._data += data

    async def finish(self) -> None:
        self._store._insert(self._key, bytes(self._data))  # noqa: SLF001 - the writer is the store's own
