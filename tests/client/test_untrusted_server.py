"""A server, or a proxy before it, that breaks the rules: the SDK fails with its own errors, or goes on where it can."""

import asyncio
import hashlib
import io
import tracemalloc
from contextlib import asynccontextmanager

import grpc
import holdfast
import pytest
from crc32c import crc32c
from holdfast.download import Download
from holdfast.payload import Outgoing
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceServicer, add_CheckpointServiceServicer_to_server

FORMAT = holdfast.Format("test", 1)
PARTS = {"": b"0123456789", "b": b"", "c": b"xyz"}


def header(parts=PARTS, **changed):
    infos = [
        {"name": name, "size_bytes": len(data), "sha256": hashlib.sha256(data).digest()} for name, data in parts.items()
    ]
    return api.LoadStreamResponse(header={"checkpoint": {"checkpoint_id": "c", "parts": infos, **changed}})


def chunk(part, data, offset=0):
    return api.LoadStreamResponse(chunk={"part": part, "offset": offset, "data": data, "crc32c": crc32c(data)})


def finish(size):
    return api.LoadStreamResponse(finish={"size_bytes": size})


WHOLE = [header(), chunk("", PARTS[""]), chunk("b", b""), chunk("c", PARTS["c"])]


class Scripted(CheckpointServiceServicer):
    """Answers each load with the next list of messages, and each streamed save as a server that lost its wits."""

    def __init__(self, *streams, received="0:0"):
        self.streams = list(streams)
        self.received = received
        self.requests = []

    async def Load(self, request, context):  # noqa: N802
        return api.LoadResponse()

    async def LoadStream(self, request, context):  # noqa: N802
        self.requests.append(request)
        for message in self.streams.pop(0):
            if message is None:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
            yield message

    async def SaveStream(self, requests, context):  # noqa: N802
        self.requests.append(await anext(requests))
        if len(self.requests) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
        await context.send_initial_metadata((("holdfast-received", self.received),))
        async for request in requests:
            self.requests.append(request)
        return api.SaveStreamResponse()


@asynccontextmanager
async def server(servicer):
    running = grpc.aio.server()
    add_CheckpointServiceServicer_to_server(servicer, running)
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await running.stop(0)


async def load(*streams):
    servicer = Scripted(*streams)
    async with server(servicer) as target, holdfast.AsyncClient(target, timeout=20) as client:
        return await client.load("n", "w"), servicer


async def test_a_stream_that_ends_without_its_finish_is_not_taken_for_whole_and_is_gone_on_with():
    loaded, servicer = await load(WHOLE[:2], [WHOLE[0], *WHOLE[2:], finish(3)])
    assert loaded.parts == PARTS
    assert [each.part for each in servicer.requests[1].ranges] == ["b", "c"]


async def test_a_stream_that_breaks_behind_its_last_chunk_is_whole():
    loaded, servicer = await load([*WHOLE, None])
    assert loaded.parts == PARTS
    assert len(servicer.requests) == 1


@pytest.mark.parametrize(
    "messages",
    [
        [chunk("", b"x"), header()],
        [finish(0)],
        [header(), header()],
        [*WHOLE, finish(13), chunk("c", b"", 3)],
        [*WHOLE, finish(12)],
        [*WHOLE[:3], finish(10)],
        [header(), chunk("unknown", b"x")],
        [header(), chunk("", b"x" * 11)],
        [header(), chunk("", b"x", 5)],
        [header(), chunk("", b"x", -1)],
        [header(), api.LoadStreamResponse(chunk={"data": b"x", "crc32c": 1})],
        [header({"": b""}), chunk("", b"x")],
        [*WHOLE[:3], chunk("c", b"XYZ"), finish(13)],
        [api.LoadStreamResponse()],
    ],
)
async def test_a_stream_that_breaks_the_rules_is_damage_and_not_tried_again(messages):
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await load(messages)


async def test_a_stream_that_goes_on_with_another_checkpoint_is_damage():
    with pytest.raises(holdfast.CheckpointCorruptedError) as caught:
        await load(WHOLE[:2], [header(checkpoint_id="other"), *WHOLE[2:], finish(3)])
    assert len(caught.value.trace_id) == 32


@pytest.mark.parametrize("parts", [PARTS, {"": b"9876543210", "new": b"x"}])
async def test_a_load_whose_checkpoint_is_replaced_between_two_streams_begins_anew(parts):
    replaced = {**parts, "": b"9876543210"}
    whole = [header(replaced, revision=2), *(chunk(name, data) for name, data in replaced.items())]
    size = sum(map(len, replaced.values()))
    loaded, servicer = await load(WHOLE[:2], [whole[0], finish(0)], [*whole, finish(size)])
    assert loaded.parts == replaced
    assert not servicer.requests[2].ranges


async def test_a_time_that_is_none_is_an_error_of_the_sdk():
    with pytest.raises(holdfast.InternalError, match="a time that is none"):
        await load([header(create_time={"seconds": 2**62}), *WHOLE[1:], finish(13)])


async def test_no_more_is_held_than_the_header_tells_however_much_comes():
    async def endless():
        yield header({"": b"0123456789"})
        piece = chunk("", b"")
        for _ in range(200_000):
            yield piece
        while True:
            yield chunk("", bytes(1 << 20))

    download = Download(api.LoadStreamRequest(), None)
    tracemalloc.start()
    try:
        with pytest.raises(holdfast.CheckpointCorruptedError):
            await download.receive(endless())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("received", ["", "1", "1:2:3", "-1:0", "a:b", "\N{SUPERSCRIPT TWO}:0", "9" * 5000 + ":0"])
def test_a_position_that_is_none_is_an_error_of_the_sdk(received):
    outgoing = Outgoing(PARTS)
    if received:
        with pytest.raises(holdfast.InternalError, match="a position that is none"):
            list(outgoing.messages(received, None))
    else:
        assert len(list(outgoing.messages(received, None))) == 4


def test_a_position_within_a_chunk_is_gone_on_from():
    messages = list(Outgoing({"": b"0123456789", "b": b"xyz"}).messages("0:4", None))
    assert [(each.chunk.offset, each.chunk.data) for each in messages[:-1]] == [(4, b"456789"), (0, b"xyz")]
    assert messages[-1].finish.size_bytes == 13


async def test_a_server_that_tells_no_position_fails_the_save_and_does_not_cancel_its_caller():
    async with server(Scripted(received="none")) as target, holdfast.AsyncClient(target, timeout=20) as client:
        with pytest.raises(holdfast.InternalError, match="a position that is none"):
            await client.save("n", "w", bytes(2 << 20), format=FORMAT)


class Unreadable(io.BytesIO):
    """A file on a disk that fails in its midst."""

    def read(self, size=-1):
        if self.tell() >= 1 << 20:
            raise OSError("the disk failed")
        return super().read(size)


async def test_a_file_that_cannot_be_read_fails_its_save_with_what_it_raised(client):
    with pytest.raises(OSError, match="the disk failed"):
        await client.save("n", "w", Unreadable(bytes(5 << 20)), format=FORMAT)
    with pytest.raises(holdfast.WorkflowNotFoundError):
        await client.load("n", "w")


async def test_the_synchronous_client_fails_with_what_the_file_raised_as_well(served):
    def save():
        with holdfast.Client(served.target) as client:
            client.save("n", "w", Unreadable(bytes(5 << 20)), format=FORMAT)

    with pytest.raises(OSError, match="the disk failed"):
        await asyncio.to_thread(save)


async def test_a_save_that_is_cancelled_while_its_file_is_read_stays_cancelled(client):
    task = asyncio.create_task(client.save("n", "w", io.BytesIO(bytes(64 << 20)), format=FORMAT))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
