"""The parts of a payload: written into blobs or markers, and copied."""

from contextlib import AsyncExitStack
from typing import Protocol

from holdfast_server.layout.v1.marker_pb2 import PartEncoding, StoredPart
from holdfast_server.protocol.format.ids import unique
from holdfast_server.protocol.format.keys import WorkflowKeys, new_blob
from holdfast_server.protocol.payload.bases import damaged
from holdfast_server.protocol.payload.digests import BLOCK_BYTES, Digests
from holdfast_server.protocol.payload.encoding import HeldPart
from holdfast_server.protocol.payload.reads import read_part
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, ObjectWriter

# The largest object that a store can copy by itself within the time of a request.
_MOST_BYTES_BY_STORE = 1 << 30


class Room(Protocol):
    """Memory for parts that are held until they are committed."""

    def take(self, count: int) -> bool:
        """Hold more bytes if there is room. Return whether there was."""
        ...

    def give_back(self, count: int) -> None:
        """Hold fewer bytes."""
        ...


class PartUpload:
    """A part that arrives in pieces. It is kept in memory while it is small, and written to a new blob after that.

    Args:
        store: the store.
        keys: the workflow.
        base_revision: the head's revision when the upload began.
        name: the part's name.
        inline_limit_bytes: how many bytes may be kept in memory in any case, and then in the marker.
        held_limit_bytes: how many bytes may be kept in memory for `take` if there is room.
        room: where those are counted; None to keep no more than the inline bytes.

    Attributes:
        held_bytes: how many bytes are counted in the room.

    """

    def __init__(
        self,
        store: ObjectStore,
        keys: WorkflowKeys,
        base_revision: int,
        name: str,
        inline_limit_bytes: int,
        *,
        held_limit_bytes: int = 0,
        room: Room | None = None,
    ) -> None:
        self.name = name
        self.held_bytes = 0
        self._store = store
        self._keys = keys
        self._base_revision = base_revision
        self._relative = ""
        self._inline_limit_bytes = inline_limit_bytes
        self._held_limit_bytes = held_limit_bytes
        self._room = room
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

    async def write(self, data: bytes, checksum: int | None = None) -> None:
        """Append bytes.

        Args:
            data: the bytes.
            checksum: their CRC-32C, if it was computed from these bytes before.

        Raises:
            StoreError: the store cannot be used.

        """
        await self._digests.update(data, checksum)
        if self._writer is None and self._is_kept(len(data)):
            self._inline += data
            return
        if self._writer is None:
            self._relative = new_blob(self._base_revision, unique())
            self._writer = await self._exit.enter_async_context(self._store.put(self._keys.blob(self._relative)))
            if self._inline:
                await self._writer.write(bytes(self._inline))
                self._inline.clear()
            if self._room is not None:
                self._room.give_back(self.held_bytes)
                self.held_bytes = 0
        await self._writer.write(data)

    def _is_kept(self, count: int) -> bool:
        """Return whether so many bytes more are kept in memory."""
        size_bytes = len(self._inline) + count
        if self._room is not None and size_bytes <= self._held_limit_bytes:
            # Also what was kept in any case before.
            more = size_bytes - self.held_bytes
            if self._room.take(more):
                self.held_bytes += more
                return True
        return size_bytes <= self._inline_limit_bytes

    def take(self) -> HeldPart | None:
        """Return the part if all of it is in memory; None if it must be finished."""
        if self._writer is not None:
            return None
        digests = self._digests
        return HeldPart(self.name, bytes(self._inline), digests.sha256, digests.crc32c, digests.block_crc32c)

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
        copied.blob = new_blob(base_revision, unique())
        try:
            if await store.copy(source.blob(part.blob), target.blob(copied.blob)):
                return copied
        except ObjectNotFoundError:
            raise damaged(part.name, "is gone") from None
    async with PartUpload(store, target, base_revision, part.name, 0) as upload:
        async for block in read_part(store, source, part):
            await upload.write(block)
        return await upload.finish()
