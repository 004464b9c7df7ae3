"""Reads of single entries by revision or by key."""

from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys
from holdfast_server.protocol.log.entry import Entry, decode_entry
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore


class Reader:
    """Reads the entries of all logs of a store, without a cache.

    Args:
        store: the store that holds the markers. Give a `RetriedStore` to have its requests retried.

    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def read(self, keys: WorkflowKeys, revision: int) -> Entry | None:
        """Return the entry of a revision; None if there is no marker for it.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED; its metadata has the revision.
            StoreError: the store cannot be used.

        """
        if not 0 < revision <= MAX_REVISION:
            return None
        try:
            return await self.read_at(keys.marker(revision))
        except HoldfastError as error:
            error.metadata["revision"] = str(revision)
            raise

    async def read_or_damage(self, keys: WorkflowKeys, revision: int) -> Entry | HoldfastError:
        """Return the entry of a revision, or the CHECKPOINT_CORRUPTED error that says why it cannot be read.

        Raises:
            HoldfastError: LAYOUT_UNSUPPORTED.
            StoreError: the store cannot be used.

        """
        try:
            entry = await self.read(keys, revision)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            return error
        return MarkerGoneError(keys.marker(revision), revision) if entry is None else entry

    async def is_absent(self, keys: WorkflowKeys, revision: int) -> bool:
        """Return whether there is no marker for a revision, damaged or not.

        Raises:
            StoreError: the store cannot be used.

        """
        if not 0 < revision <= MAX_REVISION:
            return True
        try:
            await read_whole(self._store, keys.marker(revision))
        except ObjectNotFoundError:
            return True
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
        return False

    async def read_at(self, key: str) -> Entry | None:
        """Return the entry that a key holds; None if there is no object with that key.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.
            StoreError: the store cannot be used.

        """
        try:
            frame = await read_whole(self._store, key)
        except ObjectNotFoundError:
            return None
        return await decode_entry(key, frame)
