"""Reads of parts: every block is checked before any of its bytes is returned.

A few blocks are read ahead and are in memory at a time. Encoded parts are small and are rebuilt whole. Checksums are
computed in threads.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise

from holdfast_server.layout.v1.marker_pb2 import PartEncoding, StoredPart
from holdfast_server.protocol.format.invariants import BASE_DIGEST_BYTES
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.payload.bases import Bases, damaged
from holdfast_server.protocol.payload.bases import require_presence as require_encoded
from holdfast_server.protocol.payload.digests import BLOCK_BYTES, Digests, combined, crc32c_of
from holdfast_server.protocol.payload.read_ahead import in_order
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, StoreDamagedError
from holdfast_server.stores.retried import RetriedStore

# Blocks that are read while another one is used.
_BLOCKS_AHEAD = 2
# A marker that names larger blocks is damaged.
_LARGEST_BLOCK_BYTES = 64 << 20
_ENCODED = frozenset({PartEncoding.PART_ENCODING_ZSTD, PartEncoding.PART_ENCODING_ZSTD_DELTA})


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a part, and the CRC-32C that was computed when they were checked.

    Attributes:
        offset: where in the part they begin.
        data: the bytes.
        crc32c: their checksum.

    """

    offset: int
    data: memoryview
    crc32c: int


async def read_part(
    store: ObjectStore,
    keys: WorkflowKeys,
    part: StoredPart,
    offset: int = 0,
    length: int | None = None,
    *,
    bases: Bases | None = None,
) -> AsyncGenerator[bytes]:
    """Yield the bytes of a part, or of a range of it, block by block, each one checked first.

    A part that is read whole is also checked against its digest, after the last block. Reads of the store are retried.

    Args:
        store: the store.
        keys: the workflow.
        part: the part.
        offset: the first byte.
        length: how many bytes; None for all from the offset.
        bases: content of bases that need not be read from the store; None to read all of it.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED.
        StoreError: the store cannot be used.

    """
    wanted = _Range(store, keys, part, offset, _end(part, offset, length), BLOCK_BYTES, bases)
    pieces = wanted.pieces(_BLOCKS_AHEAD)
    if wanted.is_whole and not is_encoded(part):
        pieces = _digested(part, pieces)
    async with aclosing(pieces):
        async for piece in pieces:
            yield bytes(piece.data)


async def read_pieces(
    store: ObjectStore,
    keys: WorkflowKeys,
    part: StoredPart,
    offset: int = 0,
    length: int | None = None,
    *,
    piece_bytes: int,
    blocks_ahead: int,
    bases: Bases | None = None,
) -> AsyncGenerator[Piece]:
    """Yield the bytes of a part, or of a range of it, in pieces with checksums. Each byte is checked once, before.

    The checksums of its blocks prove a part, so that its digest is left to the reader. A part without them is checked
    against its digest if it is read whole. Reads of the store are retried.

    Args:
        store: the store.
        keys: the workflow.
        part: the part.
        offset: the first byte.
        length: how many bytes; None for all from the offset.
        piece_bytes: the most bytes of a piece.
        blocks_ahead: how many blocks are read while another one is used; they are held in memory.
        bases: content of bases that need not be read from the store; None to read all of it.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED.
        StoreError: the store cannot be used.

    """
    wanted = _Range(store, keys, part, offset, _end(part, offset, length), piece_bytes, bases)
    pieces = wanted.pieces(blocks_ahead)
    if wanted.is_whole and not part.block_crc32c and not is_encoded(part):
        pieces = _digested(part, pieces)
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece


async def read_whole_part(
    store: ObjectStore, keys: WorkflowKeys, part: StoredPart, *, bases: Bases | None = None
) -> bytes:
    """Return a whole part, checked against its digests. Reads of the store are retried.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED.
        StoreError: the store cannot be used.

    """
    if part.WhichOneof("location") != "inline" or part.encoding != PartEncoding.PART_ENCODING_IDENTITY:
        return b"".join([block async for block in read_part(store, keys, part, bases=bases)])
    data = part.inline
    _require_size(part, len(data))
    digests = Digests()
    await digests.update(data)
    _require_digests(part, digests)
    return data


def is_encoded(part: StoredPart) -> bool:
    """Return whether a part must be rebuilt from what is stored of it."""
    return part.encoding in _ENCODED


def rebuilding_bytes(parts: Sequence[StoredPart]) -> int:
    """Return how many bytes the rebuilding of parts, one after the other, takes in memory besides the parts."""
    return max((_rebuilding_bytes(part) for part in parts if is_encoded(part)), default=0)


def _rebuilding_bytes(part: StoredPart) -> int:
    # What is stored of all, and two neighbours of the chain.
    stored_bytes = part.stored_bytes + sum(base.stored_bytes for base in part.bases)
    return stored_bytes + part.size_bytes + max((base.size_bytes for base in part.bases), default=0)


async def require_presence(store: ObjectStore, keys: WorkflowKeys, part: StoredPart) -> None:
    """Check that a part exists and has its size, without reading it.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED.
        StoreError: the store cannot be used.

    """
    if is_encoded(part):
        await require_encoded(store, keys, part)
    elif part.WhichOneof("location") == "inline":
        _require_size(part, len(part.inline))
    elif part.size_bytes:
        await _stored(store, keys, part, 0, 1)


async def _digested(part: StoredPart, pieces: AsyncGenerator[Piece]) -> AsyncGenerator[Piece]:
    """Yield the pieces of a whole part, then check the part's digest."""
    digests = Digests()
    async with aclosing(pieces):
        async for piece in pieces:
            await digests.update(piece.data, piece.crc32c)
            yield piece
    _require_digests(part, digests)


@dataclass(frozen=True, slots=True)
class _Range:
    """A range of a stored part, up to `end`, that is read in pieces."""

    store: ObjectStore
    keys: WorkflowKeys
    part: StoredPart
    offset: int
    end: int
    piece_bytes: int
    bases: Bases | None

    @property
    def is_whole(self) -> bool:
        return (self.offset, self.end) == (0, self.part.size_bytes)

    async def pieces(self, blocks_ahead: int) -> AsyncGenerator[Piece]:
        """Yield the pieces of the range, each block checked first."""
        content = await self._content()
        if content is not None:
            for piece in (await self._cut(content, 0))[0]:
                yield piece
            return
        size = _block_bytes(self.part)
        starts = range(self.offset - self.offset % size, self.end, size)
        async with aclosing(in_order(self._block, starts, blocks_ahead)) as blocks:
            async for block in blocks:
                for piece in block:
                    yield piece

    async def _content(self) -> bytes | None:
        """Return the whole part if it is in the marker or is encoded; None if it has to be read by blocks."""
        part = self.part
        if is_encoded(part):
            bases = self.bases or Bases(0)
            if self.is_whole:
                return await bases.rebuild(self.store, self.keys, part)
            # A caller that reads a range of a part often reads another one next.
            digest = part.sha256[:BASE_DIGEST_BYTES]
            content = bases.get(self.keys, part.name, digest)
            if content is None:
                content = await bases.rebuild(self.store, self.keys, part)
                bases.keep(self.keys, part.name, digest, content)
            return content
        if part.WhichOneof("location") == "inline":
            _require_size(part, len(part.inline))
            return part.inline
        return None

    async def _block(self, start: int) -> list[Piece]:
        """Read the block at `start` and check it. Return the pieces of the range in it."""
        part, size = self.part, _block_bytes(self.part)
        block = await _stored(self.store, self.keys, part, start, min(size, part.size_bytes - start))
        pieces, checksum = await self._cut(block, start)
        if part.block_crc32c and checksum != part.block_crc32c[start // size]:
            raise damaged(part.name, f"does not match its digest in the block at byte {start}")
        return pieces

    async def _cut(self, block: bytes, start: int) -> tuple[list[Piece], int]:
        """Return the pieces of the range in a block, and the CRC-32C of the block.

        The block is cut at the ends of the range as well, so that each byte is read once for both.
        """
        first, last = max(self.offset - start, 0), min(self.end - start, len(block))
        bounds = sorted({0, *range(first, last, self.piece_bytes), last, len(block)})
        view = memoryview(block)
        cuts = [view[low:high] for low, high in pairwise(bounds)]
        pieces, checksum = [], 0
        for low, data, each in zip(bounds, cuts, await crc32c_of(cuts), strict=False):
            checksum = combined(checksum, each, len(data))
            if first <= low < last:
                pieces.append(Piece(start + low, data, each))
        return pieces, checksum


def _end(part: StoredPart, offset: int, length: int | None) -> int:
    return part.size_bytes if length is None else min(part.size_bytes, offset + length)


async def _stored(store: ObjectStore, keys: WorkflowKeys, part: StoredPart, offset: int, length: int) -> bytes:
    try:
        found = await RetriedStore(store).get(keys.blob(part.blob), offset=offset, length=length)
    except ObjectNotFoundError:
        raise damaged(part.name, "is gone") from None
    except StoreDamagedError as error:
        raise damaged(part.name, f"cannot be read: {error}") from error
    _require_size(part, found.size_bytes)
    if len(found.data) != length:
        raise damaged(part.name, f"has {len(found.data)} bytes at offset {offset}, expected {length}")
    return found.data


def _block_bytes(part: StoredPart) -> int:
    if not part.block_crc32c:
        return BLOCK_BYTES
    size = part.block_bytes
    if not 0 < size <= _LARGEST_BLOCK_BYTES or len(part.block_crc32c) != -(-part.size_bytes // size):
        raise damaged(
            part.name,
            f"has {len(part.block_crc32c)} checksums for blocks of {size} bytes and a size of {part.size_bytes}",
        )
    return size


def _require_digests(part: StoredPart, digests: Digests) -> None:
    if (digests.sha256, digests.crc32c) != (part.sha256, part.crc32c):
        raise damaged(part.name, "does not match its digest")


def _require_size(part: StoredPart, size_bytes: int) -> None:
    if size_bytes != part.size_bytes:
        raise damaged(part.name, f"has {size_bytes} bytes, expected {part.size_bytes}")
