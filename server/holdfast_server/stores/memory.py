"""An object store in memory, for tests of callers. It keeps every promise except durability."""

import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from holdfast_server.stores.base import ObjectNotFoundError, ObjectSummary, StoredObject


class Objects:
    """The objects in key order, and the operations as they take effect once a request has arrived.

    Args:
        clock: the store's own clock, in seconds since the epoch.

    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        # The bytes, and the time of the write.
        self.by_key: dict[str, tuple[bytes, float]] = {}
        self._keys: list[str] = []
        self._clock = clock

    def create(self, key: str, data: bytes) -> bool:
        """Put if absent. Return whether the key was absent."""
        if key in self.by_key:
            return False
        self.write(key, data)
        return True

    def write(self, key: str, data: bytes) -> None:
        """Put."""
        if key not in self.by_key:
            insort(self._keys, key)
        self.by_key[key] = (data, self._clock())

    def read(self, key: str, offset: int = 0, length: int | None = None) -> StoredObject:
        """Get.

        Raises:
            ObjectNotFoundError: no object has the key.

        """
        if key not in self.by_key:
            raise ObjectNotFoundError(key)
        data, _ = self.by_key[key]
        end = None if length is None else offset + length
        return StoredObject(data=data[offset:end], size_bytes=len(data))

    def list(self, prefix: str, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """List."""
        found: list[ObjectSummary] = []
        first = bisect_right(self._keys, start_after) if start_after >= prefix else bisect_left(self._keys, prefix)
        for key in self._keys[first:]:
            if not key.startswith(prefix) or len(found) == limit:
                break
            data, modified = self.by_key[key]
            found.append(ObjectSummary(key, len(data), modified))
        return found

    def delete(self, key: str) -> None:
        """Delete."""
        if self.by_key.pop(key, None) is not None:
            self._keys.remove(key)


class MemoryStore:
    """Holds objects for as long as the process lives."""

    def __init__(self) -> None:
        self.objects = Objects()

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        return self.objects.create(key, bytes(data))

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        return self.objects.read(key, offset, length)

    @asynccontextmanager
    async def put(self, key: str) -> AsyncIterator["_MemoryWriter"]:
        """Write an object under a fresh key."""
        yield _MemoryWriter(self.objects, key)

    async def replace(self, key: str, data: bytes) -> None:
        """Replace an object."""
        self.objects.write(key, bytes(data))

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """List objects in key order."""
        return self.objects.list(prefix, start_after, limit)

    async def copy(self, source: str, target: str) -> bool:
        """Copy an object to a fresh key."""
        self.objects.write(target, self.objects.read(source, 0, None).data)
        return True

    async def delete(self, key: str) -> None:
        """Delete an object."""
        self.objects.delete(key)


class _MemoryWriter:
    def __init__(self, objects: Objects, key: str) -> None:
        self._objects = objects
        self._key = key
        self._data = bytearray()

    async def write(self, data: bytes) -> None:
        self._data += data

    async def finish(self) -> None:
        self._objects.write(self._key, bytes(self._data))
