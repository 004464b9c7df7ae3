"""The parts of a payload: written into blobs or markers, and read back with their digests checked.

Digests are computed in threads, and at most a few blocks of a part are in memory at a time.
"""

import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, nullcontext

from holdfast_server.layout.v1.marker_pb2 import PartEncoding, StoredPart
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys, new_blob
from holdfast_server.protocol.payload.digests import BLOCK_BYTES, Digests, crc32c_of
from holdfast_server.protocol.payload.read_ahead import read_ahead
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, ObjectWriter
from holdfast_server.stores.retried import RetriedStore

# A smaller range is mostly one block, so that there is nothing to read ahead.
_READ_AHEAD_BYTES = 256 << 10
# A marker that names larger blocks is damaged.
_LARGEST_BLOCK_BYTES = 64 << 20
# The largest object that a store can copy by itself within the time of a request.
_MOST_BYTES_BY_STORE = 1 << 30


class PartUpload:
    """A part that arrives in pieces. It is kept in memory while it is small, and written to a new blob after that.

    Args:
        store: the store.
        keys: the workflow.
        base_revision: the head's revision when the upload began.
        name: the part's name.
        inline_limit_bytes: how many bytes may be kept in memory, and then in the marker.

    """

    def __init__(
        self, store: ObjectStore, keys: WorkflowKeys, base_revision: int, name: str, inline_limit_bytes: int
    ) -> None:
        self.name = name
        self._store = store
        self._keys = keys
        self._base_revision = base_revision
        self._relative = ""
        self._inline_limit_bytes = inline_limit_bytes
        self._digests = Digests()
        self._inline = bytearray()
        self._writer: ObjectWriter | None = None
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> "PartUpload":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._exit.aclose()

    @property
    def size_bytes(self) -> int:
        """The number of bytes that were written."""
        return self._digests.size_bytes

    async def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            StoreError: the store cannot be used.

        """
        await self._digests.update(data)
        if self._writer is None and len(self._inline) + len(data) <= self._inline_limit_bytes:
            self._inline += data
            return
        if self._writer is None:
            self._relative = new_blob(self._base_revision, uuid.uuid4().hex)
            self._writer = await self._exit.enter_async_context(self._store.put(self._keys.blob(self._relative)))
            if self._inline:
                await self._writer.write(bytes(self._inline))
                self._inline.clear()
        await self._writer.write(data)

    async def finish(self) -> StoredPart:
        """Make the part durable, and return its size, its digests and its location.

        Raises:
            StoreError: the store cannot be used.

        """
        part = StoredPart(
            name=self.name,
            size_bytes=self._digests.size_bytes,
            sha256=self._digests.sha256,
            crc32c=self._digests.crc32c,
            encoding=PartEncoding.PART_ENCODING_IDENTITY,
        )
        if self._writer is None:
            part.inline = bytes(self._inline)
        else:
            await self._writer.finish()
            part.blob = self._relative
            part.block_bytes = BLOCK_BYTES
            part.block_crc32c.extend(self._digests.block_crc32c)
        return part


async def read_part(
    store: ObjectStore, keys: WorkflowKeys, part: StoredPart, offset: int = 0, length: int | None = None
) -> AsyncGenerator[bytes]:
    """Yield the bytes of a part, or of a range of it, block by block, each one checked first.

    A part that is read whole is also checked against its digest, after the last block. Reads of the store are retried.

    Args:
        store: the store.
        keys: the workflow.
        part: the part.
        offset: the first byte.
        length: how many bytes; None for all from the offset.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED.
        StoreError: the store cannot be used.

    """
    end = part.size_bytes if length is None else min(part.size_bytes, offset + length)
    digests = Digests() if (offset, end) == (0, part.size_bytes) else None
    ahead = read_ahead if end - offset > _READ_AHEAD_BYTES else nullcontext
    async with aclosing(_blocks(store, keys, part, offset, end)) as blocks, ahead(blocks) as fetched:
        async for block in fetched:
            if digests is not None:
                await digests.update(block)
            yield block
    if digests is not None and (digests.sha256, digests.crc32c) != (part.sha256, part.crc32c):
        raise damaged(part, "does not match its digest")


async def copy_part(
    store: ObjectStore, source: WorkflowKeys, target: WorkflowKeys, part: StoredPart, base_revision: int
) -> StoredPart:
    """Copy a part into a new blob of the same workflow or of another one, and return the copy.

    If the store copies it by itself, damage is copied too. It is then detected by the same digests when it is read.

    Args:
        store: the store.
        source: the workflow that has the part.
        target: the workflow that gets the copy.
        part: the part, which has a blob.
        base_revision: the revision of the target's head.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED: the part is damaged or missing.
        StoreError: the store cannot be used.

    """
    if part.size_bytes <= _MOST_BYTES_BY_STORE:
        copied = StoredPart()
        copied.CopyFrom(part)
        copied.blob = new_blob(base_revision, uuid.uuid4().hex)
        try:
            if await store.copy(source.blob(part.blob), target.blob(copied.blob)):
                return copied
        except ObjectNotFoundError:
            raise damaged(part, "is gone") from None
    async with PartUpload(store, target, base_revision, part.name, 0) as upload:
        async for block in read_part(store, source, part):
            await upload.write(block)
        return await upload.finish()


async def require_presence(store: ObjectStore, keys: WorkflowKeys, part: StoredPart) -> None:
    """Check that a part exists and has its size, without reading it.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED.
        StoreError: the store cannot be used.

    """
    if part.WhichOneof("location") == "inline":
        _require_size(part, len(part.inline))
    elif part.size_bytes:
        await _stored(store, keys, part, 0, 1)


async def _blocks(
    store: ObjectStore, keys: WorkflowKeys, part: StoredPart, offset: int, end: int
) -> AsyncGenerator[bytes]:
    if part.WhichOneof("location") == "inline":
        _require_size(part, len(part.inline))
        if end > offset:
            yield part.inline[offset:end]
        return
    size = _block_bytes(part)
    for start in range(offset - offset % size, end, size):
        block = await _stored(store, keys, part, start, min(size, part.size_bytes - start))
        if part.block_crc32c and await crc32c_of(block) != part.block_crc32c[start // size]:
            raise damaged(part, f"does not match its digest in the block at byte {start}")
        yield block[max(offset - start, 0) : end - start]


async def _stored(store: ObjectStore, keys: WorkflowKeys, part: StoredPart, offset: int, length: int) -> bytes:
    try:
        found = await RetriedStore(store).get(keys.blob(part.blob), offset=offset, length=length)
    except ObjectNotFoundError:
        raise damaged(part, "is gone") from None
    _require_size(part, found.size_bytes)
    if len(found.data) != length:
        raise damaged(part, f"has {len(found.data)} bytes at offset {offset}, expected {length}")
    return found.data


def _block_bytes(part: StoredPart) -> int:
    if not part.block_crc32c:
        return BLOCK_BYTES
    size = part.block_bytes
    if not 0 < size <= _LARGEST_BLOCK_BYTES or len(part.block_crc32c) != -(-part.size_bytes // size):
        raise damaged(
            part, f"has {len(part.block_crc32c)} checksums for blocks of {size} bytes and a size of {part.size_bytes}"
        )
    return size


def _require_size(part: StoredPart, size_bytes: int) -> None:
    if size_bytes != part.size_bytes:
        raise damaged(part, f"has {size_bytes} bytes, expected {part.size_bytes}")


def damaged(part: StoredPart, problem: str) -> HoldfastError:
    """Return the error for a part that differs from its description in the marker."""
    return HoldfastError(Reason.CHECKPOINT_CORRUPTED, f"part {part.name!r} {problem}", part=part.name)
