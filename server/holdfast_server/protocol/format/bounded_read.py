"""Reading small objects whole, however large the thing is that lies in their place."""

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.stores.base import ObjectStore

# More than any marker has: of a payload of terabytes its checksums, of millions of checkpoints which were deleted.
MAX_MARKER_BYTES = 32 << 20
# Most markers come with one request, and no store prepares for more than this.
_FIRST_BYTES = 256 << 10


async def read_whole(store: ObjectStore, key: str, limit_bytes: int = MAX_MARKER_BYTES) -> bytes:
    """An object's bytes.

    Args:
        store: where.
        key: the key.
        limit_bytes: the most that it may have.

    Raises:
        ObjectNotFoundError: no object has the key.
        HoldfastError: CHECKPOINT_CORRUPTED: it is larger.

    """
    found = await store.get(key, length=min(_FIRST_BYTES, limit_bytes))
    if found.size_bytes > limit_bytes:
        raise HoldfastError(
            Reason.CHECKPOINT_CORRUPTED,
            f"an object has {found.size_bytes} bytes where at most {limit_bytes} can be",
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
