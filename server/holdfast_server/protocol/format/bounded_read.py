"""Reads of small objects, with a limit on what is read if the object turns out to be large."""

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.stores.base import ObjectStore, StoreDamagedError

# More than any marker needs, even for the checksums of terabytes or the deleted ranges of millions of checkpoints.
MAX_MARKER_BYTES = 32 << 20
# Enough for most markers, so that they take one request, and little for a store to prepare.
_FIRST_BYTES = 256 << 10


async def read_whole(store: ObjectStore, key: str, limit_bytes: int = MAX_MARKER_BYTES) -> bytes:
    """Return the bytes of an object.

    Args:
        store: the store.
        key: the key of the object.
        limit_bytes: the largest size that is accepted.

    Raises:
        ObjectNotFoundError: no object has the key.
        HoldfastError: CHECKPOINT_CORRUPTED: it is larger than the limit, or the store cannot read it.
        StoreError: the store cannot be used.

    """
    try:
        return await _read_whole(store, key, limit_bytes)
    except StoreDamagedError as error:
        raise HoldfastError(Reason.CHECKPOINT_CORRUPTED, f"an object cannot be read: {error}", key=key) from error


async def _read_whole(store: ObjectStore, key: str, limit_bytes: int) -> bytes:
    found = await store.get(key, length=min(_FIRST_BYTES, limit_bytes))
    if found.size_bytes > limit_bytes:
        raise HoldfastError(
            Reason.CHECKPOINT_CORRUPTED,
            f"an object has {found.size_bytes} bytes, expected at most {limit_bytes}",
            key=key,
            size_bytes=found.size_bytes,
        )
    data = found.data
    while len(data) < found.size_bytes:
        more = await store.get(key, offset=len(data), length=found.size_bytes - len(data))
        if not more.data:
            break
        data += more.data
    return data
