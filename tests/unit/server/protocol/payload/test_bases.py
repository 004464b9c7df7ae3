"""Rebuilding: few reads, all at once, and damage of a base is named."""

import pytest
from holdfast_server.layout.v1.marker_pb2 import Marker, PartEncoding
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.invariants import MAX_BASES
from holdfast_server.protocol.payload.bases import Bases
from holdfast_server.protocol.payload.reads import read_part, read_pieces, require_presence

from tests.support.deltas import Counting, Deltas, noise, text


async def chain(inline, size=3000):
    """Return a workflow whose newest checkpoint rests on the most bases, and its content."""
    run, state = Deltas(Counting(), inline=inline), text(0, size)
    for number in range(MAX_BASES + 1):
        state += text(number, 50)
        entry = await run.keep(state)
    assert len(entry.marker.parts[0].bases) == MAX_BASES
    return run, entry, state


async def content(run, entry, bases=None):
    blocks = read_part(run.log.store, run.keys, entry.marker.parts[0], bases=bases)
    return b"".join([block async for block in blocks])


@pytest.mark.parametrize("inline", [0, 100_000])
async def test_a_cold_load_reads_the_part_and_its_bases_at_once(inline):
    run, entry, state = await chain(inline)
    store = run.log.store
    store.read.clear()
    store.most_at_once = 0
    assert await content(run, entry) == state
    assert len(store.read) == store.most_at_once == MAX_BASES + (inline == 0)


@pytest.mark.parametrize("inline", [0, 100_000])
async def test_a_warm_load_reads_no_base(inline):
    run, entry, state = await chain(inline)
    bases = Bases()
    await content(run, entry, bases)
    run.log.store.read.clear()
    assert await content(run, entry, bases) == state
    assert len(run.log.store.read) == (inline == 0)


async def test_a_load_after_a_save_by_the_same_process_reads_no_base():
    run, entry, state = await chain(100_000)
    run.log.store.read.clear()
    assert await content(run, entry, run.encoder.bases) == state
    assert run.log.store.read == []


async def test_the_bases_of_many_parts_in_one_marker_are_read_with_that_marker_once():
    run = Deltas(Counting(), inline=100_000)
    for number in range(MAX_BASES + 1):
        entry = await run.keep({f"p{part}": text(part) + text(number, 50) for part in range(20)})
    bases = Bases()
    run.log.store.read.clear()
    for part in entry.marker.parts:
        async for _ in read_part(run.log.store, run.keys, part, bases=bases):
            pass
    assert len(run.log.store.read) == MAX_BASES


async def test_ranges_and_pieces_of_an_encoded_part_are_those_of_its_content():
    run, entry, state = await chain(0)
    (part,), store = entry.marker.parts, run.log.store
    for offset, length in [(0, 10), (5, None), (2999, 100), (len(state), 5), (7, 0)]:
        blocks = read_part(store, run.keys, part, offset, length)
        expected = state[offset:] if length is None else state[offset : offset + length]
        assert b"".join([block async for block in blocks]) == expected
    pieces = read_pieces(store, run.keys, part, piece_bytes=1000, blocks_ahead=1)
    found = [piece async for piece in pieces]
    assert b"".join(bytes(piece.data) for piece in found) == state
    assert max(len(piece.data) for piece in found) == 1000


@pytest.mark.parametrize("inline", [0, 100_000])
@pytest.mark.parametrize("depth", range(MAX_BASES))
@pytest.mark.parametrize("harm", ["gone", "empty", "other"])
async def test_a_damaged_base_is_named(inline, depth, harm):
    run, entry, _ = await chain(inline)
    base = entry.marker.parts[0].bases[depth]
    key = run.keys.blob(base.blob) if base.blob else run.keys.marker(base.revision)
    if harm == "gone":
        await run.log.store.delete(key)
    else:
        await run.log.store.replace(key, b"" if harm == "empty" else noise(1, base.stored_bytes))
    with pytest.raises(HoldfastError, match=f"revision {base.revision}") as raised:
        await content(run, entry)
    assert raised.value.reason is Reason.CHECKPOINT_CORRUPTED
    assert raised.value.metadata["base_revision"] == str(base.revision)
    if harm == "gone":
        with pytest.raises(HoldfastError, match=f"revision {base.revision}"):
            await require_presence(run.log.store, run.keys, entry.marker.parts[0])


async def test_a_base_with_other_content_of_the_same_size_is_found_out_before_a_byte_is_returned():
    run, entry, _ = await chain(100_000)
    base = entry.marker.parts[0].bases[0]
    found = await run.log.read_unbounded(run.keys, base.revision)
    other = Marker()
    other.CopyFrom(found.marker)
    other.parts[0].encoding = PartEncoding.PART_ENCODING_IDENTITY
    other.parts[0].inline = noise(2, base.size_bytes)
    other.parts[0].stored_bytes = 0
    await run.log.store.replace(
        run.keys.marker(base.revision), marker_codec.encode(other, run.keys.marker(base.revision))
    )
    with pytest.raises(HoldfastError, match=f"revision {base.revision}"):
        await content(run, entry)


async def test_what_is_kept_in_memory_is_bounded():
    run = Deltas(bases=Bases(20_000))
    for number in range(30):
        await run.keep(text(number, 4000))
    assert 0 < run.encoder.bases.held_bytes <= 20_000


async def test_a_damaged_base_is_not_built_on():
    run, entry, state = await chain(0)
    base = entry.marker.parts[0].bases[0]
    await run.log.store.replace(run.keys.blob(base.blob), noise(1, base.stored_bytes))
    other = run.another_process()
    saved = await other.keep(state + b"more")
    assert await other.read(saved.revision) == state + b"more"
