"""A download gives the payload that was sent, or an error, wherever its streams break and whatever is damaged."""

import asyncio
from hashlib import sha256
from threading import Event as ThreadEvent

import pytest
from crc32c import crc32c
from holdfast import CheckpointCorruptedError, ServerUnavailableError
from holdfast._async import blocking
from holdfast._async.download import Download
from holdfast._core.received import Memory, PartInto
from holdfast.v1 import checkpoint_service_pb2 as api
from hypothesis import given
from hypothesis import strategies as st

NAMES = ("", "b", "c")
layouts = st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=60), min_size=1)


def header(parts):
    infos = [
        {"name": name, "size_bytes": len(data), "sha256": sha256(data).digest(), "crc32c": crc32c(data)}
        for name, data in parts.items()
    ]
    found = {"namespace": "n", "workflow_id": "w", "checkpoint_id": "c", "revision": 1, "parts": infos}
    return api.LoadStreamResponse(header={"checkpoint": {**found, "size_bytes": sum(map(len, parts.values()))}})


def messages(parts, request, chunk_bytes):
    """Return the messages of a server that answers a request correctly."""
    ranges = request.ranges or [api.PartRange(part=name) for name in parts]
    sent = [header(parts)]
    total = 0
    for each in ranges:
        data = parts[each.part]
        assert 0 <= each.offset <= len(data)
        for offset in range(each.offset, len(data), chunk_bytes) or ([0] if not data else []):
            piece = data[offset : offset + chunk_bytes]
            total += len(piece)
            chunk = {"part": each.part, "offset": offset, "data": piece, "crc32c": crc32c(piece)}
            sent.append(api.LoadStreamResponse(chunk=chunk))
    return [*sent, api.LoadStreamResponse(finish={"size_bytes": total})]


async def streamed(sent):
    for message in sent:
        await asyncio.sleep(0)
        yield message


@given(layouts, st.integers(1, 20), st.lists(st.integers(0, 30), max_size=6), st.data())
async def test_any_payload_arrives_whole_over_any_number_of_broken_streams(parts, chunk_bytes, cuts, data):
    wanted = data.draw(st.none() | st.sampled_from(sorted(parts)))
    request = api.LoadStreamRequest(namespace="n", workflow_id="w")
    sinks = memory = Memory()
    if wanted is not None:
        request.ranges.add(part=wanted)
        buffer = Memory().of(header({wanted: b""}).header.checkpoint)[wanted]
        sinks = PartInto(buffer, wanted)
    seen = []
    download = Download(request, sinks, lambda done, size: seen.append((done, size)))
    for cut in cuts:
        if not download.is_whole:
            sent = messages(parts, download.next_request(), chunk_bytes)[:cut]
            if sent and sent[-1].HasField("finish"):
                continue
            with pytest.raises(ServerUnavailableError):
                await download.receive(streamed(sent))
    if not download.is_whole:
        await download.receive(streamed(messages(parts, download.next_request(), chunk_bytes)))
    download.require_digests()
    expected = parts if wanted is None else {wanted: parts[wanted]}
    received = memory.take() if wanted is None else {wanted: buffer.getvalue()}
    assert received == expected
    size = sum(map(len, expected.values()))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (size, size)


@given(layouts.filter(lambda parts: any(parts.values())), st.integers(1, 20), st.data())
async def test_any_flipped_byte_of_a_chunk_is_found(parts, chunk_bytes, data):
    sent = messages(parts, api.LoadStreamRequest(), chunk_bytes)
    chunks = [each.chunk for each in sent if each.chunk.data]
    damaged = data.draw(st.sampled_from(chunks))
    rotten = bytearray(damaged.data)
    rotten[data.draw(st.integers(0, len(rotten) - 1))] ^= data.draw(st.integers(1, 255))
    damaged.data = bytes(rotten)
    if data.draw(st.booleans()):
        # Damaged before its checksum was computed: only the digest of the part finds it.
        damaged.crc32c = crc32c(damaged.data)
    download = Download(api.LoadStreamRequest(namespace="n", workflow_id="w"), Memory(), None)

    async def receive():
        await download.receive(streamed(sent))
        download.require_digests()

    with pytest.raises(CheckpointCorruptedError) as caught:
        await receive()
    assert repr(damaged.part) in caught.value.message


async def test_an_error_of_the_last_step_is_raised_when_the_stream_breaks():
    async def broken():
        parts = {"": b"data"}
        sent = messages(parts, api.LoadStreamRequest(), 10)
        sent[1].chunk.crc32c ^= 1
        for message in sent[:2]:
            yield message
        raise ConnectionError

    download = Download(api.LoadStreamRequest(namespace="n", workflow_id="w"), Memory(), None)
    with pytest.raises(CheckpointCorruptedError):
        await download.receive(broken())


async def test_a_cancelled_block_ends_after_its_step_and_stays_cancelled():
    ended = False

    async def block():
        nonlocal ended
        async with blocking.Steps() as steps:
            await steps.run(release.wait)
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                asyncio.get_running_loop().call_soon(release.set)
        ended = True

    release, started = ThreadEvent(), asyncio.Event()
    task = asyncio.create_task(block())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert release.is_set()
    assert not ended


async def test_steps_run_one_after_another_in_their_order():
    done = []
    async with blocking.Steps() as steps:
        for number in range(20):
            await steps.run(done.append, number)
    assert done == list(range(20))


async def test_a_failed_step_ends_the_block():
    def fail():
        raise OSError("disk")

    async def run(*functions):
        async with blocking.Steps() as steps:
            for function in functions:
                await steps.run(function)

    for functions in ((fail,), (fail, print)):
        with pytest.raises(OSError, match="disk"):
            await run(*functions)
