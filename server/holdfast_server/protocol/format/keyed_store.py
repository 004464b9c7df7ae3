"""A wrapper of any object store that gives every object but blobs a MAC, and returns none whose MAC is not valid.

The digests in markers protect the blobs. Everything above the wrapper works with frames and knows nothing of MACs.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from holdfast_server.protocol.format.bounded_read import MAX_MARKER_BYTES, read_whole
from holdfast_server.protocol.format.keys import has_mac
from holdfast_server.protocol.format.macs import OVERHEAD_BYTES, Macs
from holdfast_server.stores.base import LeavesFiles, ObjectStore, ObjectSummary, ObjectWriter, StoredObject

# The MAC of a larger object is computed in a thread, so that it does not hold up other calls.
_THREAD_BYTES = 256 << 10


class KeyedStore:
    """Forwards every request to a store, with MACs added to what is written and removed from what is read.

    The part of an object that is requested is returned only if the MAC of the whole object is valid, so that each
    request reads the whole object. Listed sizes include the MACs.

    Args:
        store: the store.
        macs: its MACs.

    Attributes:
        read_by_key: the number of objects that were read, by the id of the key of their MACs.

    """

    def __init__(self, store: ObjectStore, macs: Macs) -> None:
        self._store = store
        self._macs = macs
        self.read_by_key: Counter[str] = Counter()

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        return await self._store.put_if_absent(key, await self._keyed(key, data))

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it.

        Raises:
            ObjectNotFoundError: no object has the key.
            HoldfastError: CHECKPOINT_CORRUPTED: its MAC is missing, wrong, or of an unknown key.

        """
        if not has_mac(key):
            return await self._store.get(key, offset=offset, length=length)
        data = await read_whole(self._store, key, MAX_MARKER_BYTES + OVERHEAD_BYTES)
        if len(data) > _THREAD_BYTES:
            frame, key_id = await asyncio.to_thread(self._macs.opened, key, data)
        else:
            frame, key_id = self._macs.opened(key, data)
        self.read_by_key[key_id] += 1
        return StoredObject(frame[offset : None if length is None else offset + length], len(frame))

    def put(self, key: str) -> AbstractAsyncContextManager[ObjectWriter]:
        """Write an object under a fresh key: a blob, which has no MAC."""
        return self._store.put(key)

    async def replace(self, key: str, data: bytes) -> None:
        """Replace an object."""
        await self._store.replace(key, await self._keyed(key, data))

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """List objects in key order."""
        return await self._store.list(prefix, start_after=start_after, limit=limit)

    async def copy(self, source: str, target: str) -> bool:
        """Copy a blob to a fresh key."""
        return await self._store.copy(source, target)

    async def delete(self, key: str) -> None:
        """Delete an object."""
        await self._store.delete(key)

    async def sweep_files(self, grace_seconds: float) -> int:
        """Remove the files of uploads that were cut off, if the store has such files."""
        return await self._store.sweep_files(grace_seconds) if isinstance(self._store, LeavesFiles) else 0

    async def _keyed(self, key: str, data: bytes) -> bytes:
        if not has_mac(key):
            return data
        if len(data) > _THREAD_BYTES:
            return await asyncio.to_thread(self._macs.keyed, key, data)
        return self._macs.keyed(key, data)
