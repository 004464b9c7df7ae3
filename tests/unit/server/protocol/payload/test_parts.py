"""Parts on their way into the store and back: damage is found before a wrong byte is returned."""

import asyncio
from contextlib import aclosing
from hashlib import sha256

import pytest
from crc32c import crc32c
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.payload import digests, parts, reads
from holdfast_server.protocol.payload.digests import Digests
from holdfast_server.protocol.payload.parts import PartUpload
from holdfast_server.protocol.payload.reads import read_part, read_pieces, require_presence
from holdfast_server.stores.base import StoredObject
from holdfast_server.stores.memory import MemoryStore
from hypothesis import given
from hypothesis import strategies as st

KEYS = WorkflowKeys("n", "w")
BLOCK = 16
DATA = bytes(range(100))


@pytest.fixture(autouse=True, scope="module")
def _small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "BLOCK_BYTES", BLOCK)
        patch.setattr(parts, "BLOCK_BYTES", BLOCK)
        patch.setattr(reads, "BLOCK_BYTES", BLOCK)
        yield


class CuttingStore(MemoryStore):
    """A store that returns a truncated body with the right length."""

    async def get(self, key, *, offset=0, length=None):
        found = await super().get(key, offset=offset, length=length)
        return StoredObject(found.data[:-1], found.size_bytes)


async def uploaded(store, data=DATA, pieces=7):
    async with PartUpload(store, KEYS, 0, "", 0) as upload:
        for start in range(0, len(data), pieces):
            await upload.write(data[start : start + pieces])
        return await upload.finish()


async def read(store, part, offset=0, length=None):
    received = b""
    try:
        async for block in read_part(store, KEYS, part, offset, length):
            received += block
    except HoldfastError as error:
        return received, error
    return received, None


@given(st.integers(1, 200), st.integers(1, 50), st.data())
async def test_any_range_reads_back_as_it_was_written(size, pieces, data):
    store = MemoryStore()
    whole = bytes(index % 251 for index in range(size))
    part = await uploaded(store, whole, pieces)
    offset = data.draw(st.integers(0, size))
    length = data.draw(st.none() | st.integers(1, size + 10))
    end = size if length is None else offset + length
    assert await read(store, part, offset, length) == (whole[offset:end], None)


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255), st.integers(0, len(DATA) - 1), st.integers(1, len(DATA)))
async def test_a_flipped_byte_of_a_blob_is_found_before_any_range_returns_it(position, flip, offset, length):
    store = MemoryStore()
    part = await uploaded(store)
    key = KEYS.blob(part.blob)
    rotten = bytearray(DATA)
    rotten[position] ^= flip
    store.objects.by_key[key] = (bytes(rotten), 0.0)
    received, error = await read(store, part, offset, length)
    assert DATA[offset : offset + length].startswith(received)
    first, last = offset // BLOCK, (min(offset + length, len(DATA)) - 1) // BLOCK
    if first <= position // BLOCK <= last:
        assert error is not None
        assert error.reason is Reason.CHECKPOINT_CORRUPTED
    else:
        assert error is None


async def test_a_truncated_body_is_damage():
    store = CuttingStore()
    _, error = await read(store, await uploaded(store))
    assert error is not None
    assert error.reason is Reason.CHECKPOINT_CORRUPTED
    assert "expected" in error.message


@pytest.mark.parametrize(("block_bytes", "checksums"), [(0, 7), (-1, 7), (1 << 40, 1), (BLOCK, 6), (BLOCK, 8)])
async def test_checksums_that_do_not_fit_the_blocks_are_damage(block_bytes, checksums):
    store = MemoryStore()
    part = await uploaded(store)
    part.block_bytes = block_bytes
    part.block_crc32c[:] = [0] * checksums
    received, error = await read(store, part)
    assert received == b""
    assert error is not None
    assert error.reason is Reason.CHECKPOINT_CORRUPTED


async def test_a_part_without_checksums_of_blocks_is_verified_by_its_digest():
    store = MemoryStore()
    part = await uploaded(store)
    part.ClearField("block_bytes")
    part.ClearField("block_crc32c")
    assert await read(store, part) == (DATA, None)
    assert await read(store, part, 20, 30) == (DATA[20:50], None)
    store.objects.by_key[KEYS.blob(part.blob)] = (DATA[::-1], 0.0)
    _, error = await read(store, part)
    assert error is not None
    assert error.reason is Reason.CHECKPOINT_CORRUPTED


async def test_presence_is_checked_without_reading_the_part():
    store = MemoryStore()
    part = await uploaded(store)
    await require_presence(store, KEYS, part)
    store.objects.by_key[KEYS.blob(part.blob)] = (DATA[:-1], 0.0)
    with pytest.raises(HoldfastError, match="expected"):
        await require_presence(store, KEYS, part)
    await store.delete(KEYS.blob(part.blob))
    with pytest.raises(HoldfastError, match="is gone"):
        await require_presence(store, KEYS, part)


@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 4), st.data())
async def test_the_pieces_of_any_range_follow_each_other_and_carry_the_checksums_of_their_bytes(
    size, piece_bytes, ahead, data
):
    store = MemoryStore()
    whole = bytes(index % 251 for index in range(size))
    part = await uploaded(store, whole)
    offset = data.draw(st.integers(0, size))
    length = data.draw(st.none() | st.integers(1, size + 10))
    position = offset
    async for piece in read_pieces(store, KEYS, part, offset, length, piece_bytes=piece_bytes, blocks_ahead=ahead):
        assert piece.offset == position
        assert 0 < len(piece.data) <= piece_bytes
        assert piece.crc32c == crc32c(piece.data)
        assert whole[position : position + len(piece.data)] == piece.data
        position += len(piece.data)
    assert position == (size if length is None else min(size, offset + length))


async def test_the_pieces_of_a_part_without_checksums_of_blocks_are_verified_by_its_digest():
    store = MemoryStore()
    part = await uploaded(store)
    part.ClearField("block_bytes")
    part.ClearField("block_crc32c")
    store.objects.by_key[KEYS.blob(part.blob)] = (DATA[::-1], 0.0)
    with pytest.raises(HoldfastError, match="does not match its digest"):
        async for _ in read_pieces(store, KEYS, part, piece_bytes=7, blocks_ahead=1):
            pass


async def test_blocks_are_read_concurrently_and_no_more_than_are_held():
    reading, most = 0, 0

    class Watched(MemoryStore):
        async def get(self, key, *, offset=0, length=None):
            nonlocal reading, most
            reading += 1
            most = max(most, reading)
            await asyncio.sleep(0)
            reading -= 1
            return await super().get(key, offset=offset, length=length)

    store = Watched()
    part = await uploaded(store, DATA * 5)
    async for _ in read_pieces(store, KEYS, part, piece_bytes=BLOCK, blocks_ahead=3):
        pass
    assert most == 4


async def test_reads_ahead_end_with_their_reader():
    reading = set()

    class Watched(MemoryStore):
        async def get(self, key, *, offset=0, length=None):
            reading.add(offset)
            try:
                await asyncio.sleep(0 if offset == 0 else 3600)
            finally:
                reading.discard(offset)
            return await super().get(key, offset=offset, length=length)

    store = Watched()
    part = await uploaded(store)
    async with aclosing(read_pieces(store, KEYS, part, piece_bytes=BLOCK, blocks_ahead=3)) as pieces:
        await anext(pieces)
        assert reading
    assert not reading


@given(st.lists(st.binary(max_size=40)), st.data())
async def test_checksums_that_are_known_before_give_the_same_digests(pieces, data):
    known, fresh = Digests(), Digests()
    for piece in pieces:
        await known.update(piece, crc32c(piece) if data.draw(st.booleans()) else None)
        await fresh.update(piece)
    whole = b"".join(pieces)
    assert (known.crc32c, known.sha256) == (fresh.crc32c, fresh.sha256) == (crc32c(whole), sha256(whole).digest())
    blocks = [crc32c(whole[start : start + BLOCK]) for start in range(0, len(whole), BLOCK)]
    assert list(known.block_crc32c) == list(fresh.block_crc32c) == blocks


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_the_checksums_of_two_byte_strings_combine_into_that_of_both(first, second):
    assert digests.combined(crc32c(first), crc32c(second), len(second)) == crc32c(first + second)
