"""Parts on their way into the store and back: damage is found before a wrong byte is returned."""

import pytest
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.payload import digests, parts
from holdfast_server.protocol.payload.parts import PartUpload, read_part, require_presence
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
