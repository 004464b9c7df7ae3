"""Servers and proxies that break the rules: the SDK raises its own errors, or continues where it can."""

import asyncio
import hashlib
import io
import time
import tracemalloc
from contextlib import asynccontextmanager

import grpc
import holdfast
import pytest
from crc32c import crc32c
from holdfast._async.download import Download
from holdfast._core.payload import Outgoing
from holdfast._core.received import Memory
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceServicer, add_CheckpointServiceServicer_to_server

FORMAT = holdfast.Format("test", 1)
PARTS = {"": b"0123456789", "b": b"", "c": b"xyz"}


def header(data=PARTS, **changed):
    infos = [
        {"name": name, "size_bytes": len(each), "sha256": hashlib.sha256(each).digest()} for name, each in data.items()
    ]
    named = {"namespace": "n", "workflow_id": "w", "checkpoint_id": "c", "revision": 1}
    size = {"size_bytes": sum(map(len, data.values()))}
    return api.LoadStreamResponse(header={"checkpoint": {**named, **size, "parts": infos, **changed}})


def chunk(part, data, offset=0):
    return api.LoadStreamResponse(chunk={"part": part, "offset": offset, "data": data, "crc32c": crc32c(data)})


def finish(size):
    return api.LoadStreamResponse(finish={"size_bytes": size})


WHOLE = [header(), chunk("", PARTS[""]), chunk("b", b""), chunk("c", PARTS["c"])]


class Scripted(CheckpointServiceServicer):
    """A server that answers each load with the next list of messages, and each streamed save with any position."""

    def __init__(self, *streams, received="0:0"):
        self.streams = list(streams)
        self.received = received
        self.announced = None
        self.requests = []

    async def Load(self, request, context):  # noqa: N802
        first = self.streams[0][0]
        announced = self.announced or (first if first.HasField("header") else header())
        return api.LoadResponse(checkpoint=announced.header.checkpoint)

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


async def load(connect, *streams):
    servicer = Scripted(*streams)
    async with server(servicer) as target, connect(target, timeout=20) as client:
        return await client.load("n", "w"), servicer


async def test_a_stream_that_ends_without_its_finish_is_not_whole_and_is_continued(connect):
    loaded, servicer = await load(connect, WHOLE[:2], [WHOLE[0], *WHOLE[2:], finish(3)])
    assert loaded.parts == PARTS
    assert [each.part for each in servicer.requests[1].ranges] == ["b", "c"]


async def test_a_fallback_before_the_stream_is_reported_although_the_stream_names_the_older_checkpoint(connect):
    class FallenBack(Scripted):
        async def Load(self, request, context):  # noqa: N802
            found = await super().Load(request, context)
            found.fell_back = found.records_included = True
            found.skipped.add(checkpoint_id="bad", revision=2)
            return found

    servicer = FallenBack([*WHOLE, finish(13)])
    async with server(servicer) as target, connect(target, timeout=20) as client:
        loaded = await client.load("n", "w", fallback=True, records=True)
    assert (loaded.fell_back, [each.checkpoint_id for each in loaded.skipped]) == (True, ["bad"])
    assert servicer.requests[0].checkpoint_id == "c"


async def test_a_stream_that_breaks_after_its_last_chunk_is_whole(connect):
    loaded, servicer = await load(connect, [*WHOLE, None])
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
async def test_a_stream_that_breaks_the_rules_is_damage_and_not_retried(connect, messages):
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await load(connect, messages)


async def test_a_stream_that_continues_with_another_checkpoint_is_damage(connect):
    with pytest.raises(holdfast.CheckpointCorruptedError) as caught:
        await load(connect, WHOLE[:2], [header(checkpoint_id="other"), *WHOLE[2:], finish(3)])
    assert len(caught.value.trace_id) == 32


@pytest.mark.parametrize("parts", [PARTS, {"": b"9876543210", "new": b"x"}])
async def test_a_load_whose_checkpoint_is_replaced_between_two_streams_begins_again(connect, parts):
    replaced = {**parts, "": b"9876543210"}
    whole = [header(replaced, revision=2), *(chunk(name, data) for name, data in replaced.items())]
    size = sum(map(len, replaced.values()))
    loaded, servicer = await load(connect, WHOLE[:2], [whole[0], finish(0)], [*whole, finish(size)])
    assert loaded.parts == replaced
    assert not servicer.requests[2].ranges


async def test_an_invalid_time_is_an_error_of_the_sdk(connect):
    with pytest.raises(holdfast.InternalError, match="an invalid time"):
        await load(connect, [header(create_time={"seconds": 2**62}), *WHOLE[1:], finish(13)])


async def test_no_more_bytes_are_held_than_the_header_announces():
    async def endless():
        yield header({"": b"0123456789"})
        while True:
            yield chunk("", bytes(1 << 20))

    download = Download(api.LoadStreamRequest(namespace="n", workflow_id="w"), Memory(), None)
    tracemalloc.start()
    try:
        with pytest.raises(holdfast.CheckpointCorruptedError):
            await download.receive(endless())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("received", ["", "1", "1:2:3", "-1:0", "a:b", "\N{SUPERSCRIPT TWO}:0", "9" * 5000 + ":0"])
def test_an_invalid_position_is_an_error_of_the_sdk(received):
    outgoing = Outgoing(PARTS)
    if received:
        with pytest.raises(holdfast.InternalError, match="an invalid position"):
            list(outgoing.messages(received, None))
    else:
        assert len(list(outgoing.messages(received, None))) == 4


def test_a_save_continues_from_a_position_within_a_chunk():
    messages = list(Outgoing({"": b"0123456789", "b": b"xyz"}).messages("0:4", None))
    assert [(each.chunk.offset, each.chunk.data) for each in messages[:-1]] == [(4, b"456789"), (0, b"xyz")]
    assert messages[-1].finish.size_bytes == 13


async def test_an_invalid_position_from_a_server_fails_the_save_and_does_not_cancel_its_caller(connect):
    async with server(Scripted(received="none")) as target, connect(target, timeout=20) as client:
        with pytest.raises(holdfast.InternalError, match="an invalid position"):
            await client.save("n", "w", bytes(2 << 20), format=FORMAT)


class Unreadable(io.BytesIO):
    """A file on a disk that fails in the middle of it."""

    def read(self, size=-1):
        if self.tell() >= 1 << 20:
            raise OSError("the disk failed")
        return super().read(size)


async def test_an_error_of_reading_a_file_is_raised_by_its_save(client):
    with pytest.raises(OSError, match="the disk failed"):
        await client.save("n", "w", Unreadable(bytes(5 << 20)), format=FORMAT)
    with pytest.raises(holdfast.WorkflowNotFoundError):
        await client.load("n", "w")


@pytest.mark.asynchronous_only("a thread cannot be cancelled")
async def test_a_save_that_is_cancelled_while_its_file_is_read_stays_cancelled(client):
    task = asyncio.create_task(client.save("n", "w", io.BytesIO(bytes(64 << 20)), format=FORMAT))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# An answer must name what was requested, and must not be larger than announced


def named(revision=1, data=b"x", **changed):
    """Return the checkpoint message of a page or an answer."""
    return header({"": data}, revision=revision, **changed).header.checkpoint


class Answering(CheckpointServiceServicer):
    """A server that answers every call of a method with a fixed answer, or with that of a function."""

    def __init__(self, **answers):
        self.calls = 0
        for method, given in answers.items():
            setattr(self, method, self._answering(given))

    def _answering(self, given):
        async def answer(request, context):
            self.calls += 1
            return given(request, self.calls) if callable(given) else given

        return answer


async def asked(connect, call, *, timeout=1, **answers):
    """Return what a call raises, and how often the server was called."""
    servicer = Answering(**answers)
    async with server(servicer) as target, connect(target, timeout=timeout) as client:
        with pytest.raises(holdfast.HoldfastError) as caught:
            await call(client)
    return caught.value, servicer.calls


def drained(method, *arguments, **options):
    """Return a call that reads an iterator to its end."""

    async def call(client):
        async for _ in getattr(client, method)(*arguments, **options):
            pass

    return call


OTHERS = [{"namespace": "m"}, {"workflow_id": "v"}, {"checkpoint_id": "d"}, {"revision": 0}, {"namespace": ""}]


@pytest.mark.parametrize("other", OTHERS, ids=str)
async def test_an_answer_about_another_checkpoint_is_refused_by_every_call(connect, other):
    """Check each call that names a checkpoint."""
    found = named(**other)
    part = {"name": "", "data": b"x", "crc32c": crc32c(b"x")}
    whole = api.LoadResponse(checkpoint=found, parts=[part], payload_included=True)
    saved = api.SaveResponse(checkpoint=found)
    for call, answers in (
        (lambda c: c.load("n", "w", "c"), {"Load": whole}),
        (lambda c: c.load("n", "w", "c", records=True), {"Load": api.LoadResponse(checkpoint=found)}),
        (lambda c: c.save("n", "w", b"x", format=FORMAT, checkpoint_id="c"), {"Save": saved}),
        (lambda c: c.validate("n", "w", "c"), {"Validate": api.ValidateResponse(checkpoint=found)}),
    ):
        error, calls = await asked(connect, call, **answers)
        assert type(error) is holdfast.InternalError
        assert "the server sent" in str(error)
        assert calls == 1


@pytest.mark.parametrize("other", [each for each in OTHERS if "checkpoint_id" not in each], ids=str)
async def test_a_list_of_other_checkpoints_is_refused(connect, other):
    page = api.ListResponse(checkpoints=[named(**other)], contents=[{"payload_included": True}])
    for method in ("list", "history"):
        error, _ = await asked(connect, drained(method, "n", "w"), List=page)
        assert type(error) is holdfast.InternalError


@pytest.mark.parametrize("other", [{"namespace": "m"}, {"workflow_id": "b"}], ids=str)
async def test_a_list_of_other_workflows_is_refused(connect, other):
    page = api.ListWorkflowsResponse(workflows=[{"namespace": "n", "workflow_id": "ab", **other}])
    error, _ = await asked(connect, drained("list_workflows", "n", prefix="a"), ListWorkflows=page)
    assert type(error) is holdfast.InternalError


@pytest.mark.parametrize("other", ["", "b"])
async def test_a_list_of_other_namespaces_is_refused(connect, other):
    page = api.ListNamespacesResponse(namespaces=["a", other])
    error, _ = await asked(connect, drained("namespaces", "a"), ListNamespaces=page)
    assert type(error) is holdfast.InternalError


@pytest.mark.parametrize(
    "answer",
    [
        {"workflows": [{"workflow_id": "b"}]},
        {"unfinished": {"workflow_id": "b"}},
        {"workflows": [{"workflow_id": "a", "stored_bytes": -1}]},
        {"total": {"workflows": -1}},
        {"total": {"measure_time": {"seconds": 1 << 60}}},
    ],
    ids=str,
)
async def test_usage_of_other_workflows_or_with_impossible_figures_is_refused(connect, answer):
    error, _ = await asked(connect, drained("usage", "n", prefix="a"), GetUsage=api.GetUsageResponse(**answer))
    assert type(error) is holdfast.InternalError


async def test_an_older_checkpoint_is_accepted_only_with_fallback(connect):
    part = {"name": "", "data": b"x", "crc32c": crc32c(b"x")}
    answer = api.LoadResponse(checkpoint=named(), parts=[part], payload_included=True, fell_back=True)
    error, _ = await asked(connect, lambda client: client.load("n", "w"), Load=answer)
    assert type(error) is holdfast.InternalError
    async with server(Answering(Load=answer)) as target, connect(target) as client:
        assert (await client.load("n", "w", fallback=True)).fell_back


@pytest.mark.parametrize("other", [{"format": {"name": "other", "version": 1}}, {"parts": []}, {}], ids=str)
async def test_an_answer_to_a_save_must_describe_what_was_saved(connect, other):
    answer = api.SaveResponse(checkpoint=named(**{"format": {"name": "test", "version": 1}, **other}))
    data = b"longer" if not other else b"x"
    error, _ = await asked(connect, lambda client: client.save("n", "w", data, format=FORMAT), Save=answer)
    assert type(error) is holdfast.InternalError


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [{"name": "", "data": b"xy"}],
        [{"name": "", "data": b"y"}],
        [{"name": "", "data": b"x"}, {"name": "more", "data": b"x"}],
        [{"name": "other", "data": b"x"}],
    ],
)
async def test_parts_that_differ_from_those_of_the_checkpoint_are_damage(connect, parts):
    answer = api.LoadResponse(checkpoint=named(), parts=parts, payload_included=True)
    error, _ = await asked(connect, lambda client: client.load("n", "w"), Load=answer)
    assert type(error) is holdfast.CheckpointCorruptedError


@pytest.mark.parametrize(
    "changed",
    [
        {"size_bytes": 2},
        {"size_bytes": -1},
        {"parts": [{"name": "", "size_bytes": -1}, {"name": "b", "size_bytes": 2}]},
        {"parts": [{"name": "b", "size_bytes": 1}, {"name": "b"}]},
    ],
)
async def test_sizes_that_contradict_each_other_are_damage(connect, changed):
    answer = api.LoadResponse(checkpoint=named(**changed))
    error, _ = await asked(connect, lambda client: client.load("n", "w"), Load=answer)
    assert type(error) is holdfast.CheckpointCorruptedError


async def test_a_stream_whose_header_differs_from_the_announced_one_is_damage(connect):
    streams = [header({"": b"0123456789"}), chunk("", b"0123456789"), finish(10)]
    servicer = Scripted(streams)
    servicer.announced = header({"": b"01"})
    async with server(servicer) as target, connect(target, timeout=5) as client:
        with pytest.raises(holdfast.CheckpointCorruptedError, match="not the one that was announced"):
            await client.load("n", "w")


class Endless(CheckpointServiceServicer):
    """A server that announces any size, and sends chunks without end."""

    def __init__(self, size, data=bytes(1 << 20)):
        self.header = header({}, parts=[{"name": "", "size_bytes": size}], size_bytes=size)
        self.data = data
        self.sent = 0
        self.ended = asyncio.Event()

    async def Load(self, request, context):  # noqa: N802
        return api.LoadResponse(checkpoint=self.header.header.checkpoint)

    async def LoadStream(self, request, context):  # noqa: N802
        try:
            yield self.header
            while True:
                yield chunk("", self.data, self.sent)
                self.sent += len(self.data)
        finally:
            self.ended.set()


@pytest.mark.parametrize(("size", "data"), [(10, bytes(1 << 20)), (10, b"x"), (1 << 20, b""), (0, b"")])
async def test_a_stream_without_end_is_ended_at_the_size_of_its_header(connect, size, data):
    endless = Endless(size, data)
    async with server(endless) as target, connect(target, timeout=20) as client:
        with pytest.raises(holdfast.CheckpointCorruptedError):
            await client.load("n", "w")
        await asyncio.wait_for(endless.ended.wait(), 5)


@pytest.mark.parametrize("size", [1 << 40, 2**63 - 1])
async def test_a_load_larger_than_this_machines_memory_is_not_begun(connect, size):
    endless = Endless(size)
    async with server(endless) as target, connect(target, timeout=20) as client:
        with pytest.raises(holdfast.PayloadTooLargeError, match="this machine's memory"):
            await client.load("n", "w")
    assert endless.sent == 0


async def test_a_load_larger_than_max_bytes_is_refused(client):
    for size in (1000, 3_000_000):
        saved = await client.save("n", "w", {"a": bytes(size - 1), "b": b"x"}, format=FORMAT)
        for call in (client.load, lambda *a, **o: client.resume(*a[:2], format=FORMAT, **o)):
            assert (await call("n", "w", max_bytes=size)).info.size_bytes == size
            with pytest.raises(holdfast.PayloadTooLargeError) as caught:
                await call("n", "w", max_bytes=size - 1)
            assert isinstance(caught.value, holdfast.WorkflowCheckpointResumeError)
            assert caught.value.metadata == {"checkpoint_id": saved.checkpoint_id, "size_bytes": str(size)}
    history = client.history("n", "w", max_bytes=1000)
    with pytest.raises(holdfast.PayloadTooLargeError):
        await anext(history)
    await client.attach("n", "w", "c", [holdfast.Record("key", bytes(100))])
    assert len(await client.records("n", "w", "c", max_bytes=103)) == 1
    with pytest.raises(holdfast.PayloadTooLargeError):
        await client.records("n", "w", "c", max_bytes=102)


@pytest.mark.parametrize("max_bytes", [-1, True, 1.5, "1", 2**64])
async def test_max_bytes_must_be_a_whole_number(client, max_bytes):
    for call in (client.load("n", "w", max_bytes=max_bytes), client.records("n", "w", "c", max_bytes=max_bytes)):
        with pytest.raises((TypeError, ValueError), match="max_bytes must be"):
            await call


# Pages without end


def records_page(request, number):
    data = bytes(1000)
    return api.ListRecordsResponse(records=[{"key": f"{number:09}", "data": data}], next_page_token=f"t{number}")


ENDLESS = {
    "list": (drained("list", "n"), {"List": lambda r, n: api.ListResponse(next_page_token=f"t{n}")}),
    "full list": (
        drained("list", "n", "w"),
        {"List": lambda r, n: api.ListResponse(checkpoints=[named()], next_page_token=f"t{n}")},
    ),
    "history": (drained("history", "n"), {"List": lambda r, n: api.ListResponse(next_page_token=f"t{n}")}),
    "workflows": (
        drained("list_workflows", "n"),
        {"ListWorkflows": lambda r, n: api.ListWorkflowsResponse(next_page_token=f"t{n}")},
    ),
    "namespaces": (
        drained("namespaces"),
        {"ListNamespaces": lambda r, n: api.ListNamespacesResponse(next_page_token=f"t{n}")},
    ),
    "usage": (drained("usage", "n"), {"GetUsage": lambda r, n: api.GetUsageResponse(next_page_token=f"t{n}")}),
    "records": (lambda client: client.records("n", "w", "c"), {"ListRecords": records_page}),
    "records of a load": (
        lambda client: client.load("n", "w", records=True),
        {"Load": lambda r, n: api.LoadResponse(checkpoint=named()), "ListRecords": records_page},
    ),
    "deletions": (
        lambda client: client.delete_checkpoints("n", labels={"a": "b"}),
        {"DeleteCheckpoints": lambda r, n: api.DeleteCheckpointsResponse(next_page_token=f"t{n}")},
    ),
    "deleted workflows": (
        lambda client: client.delete_workflows("n", "a"),
        {"DeleteWorkflows": lambda r, n: api.DeleteWorkflowsResponse(next_page_token=f"t{n}")},
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_pages_without_end_are_ended_by_the_timeout_of_the_call(connect, name):
    call, answers = ENDLESS[name]
    began = time.monotonic()
    error, calls = await asked(connect, call, timeout=0.5, **answers)
    assert type(error) is holdfast.DeadlineExceededError
    assert calls > 3
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("cycle", [1, 2, 7])
@pytest.mark.parametrize("name", [name for name in ENDLESS if not name.startswith("records")])
async def test_a_repeated_page_token_ends_a_list(connect, name, cycle):
    call, answers = ENDLESS[name]
    ((method, answer),) = answers.items()
    error, calls = await asked(connect, call, timeout=20, **{method: lambda r, n: answer(r, n % cycle)})
    assert type(error) is holdfast.InternalError
    assert "the same page token twice" in str(error)
    assert calls <= 4 * cycle + 2


async def test_time_that_the_caller_spends_between_two_pages_does_not_count(client):
    for _ in range(4):
        await client.save("n", "w", b"x", format=FORMAT)
    seen = []
    async for each in client.list("n", "w", page_size=1, timeout=1):
        seen.append(each.revision)
        await asyncio.sleep(0.4)
    assert seen == [4, 3, 2, 1]


async def test_records_out_of_order_are_refused(connect):
    answer = api.ListRecordsResponse(records=[{"key": "b"}, {"key": "a"}])
    error, _ = await asked(connect, lambda client: client.records("n", "w", "c"), ListRecords=answer)
    assert type(error) is holdfast.InternalError


async def test_contents_without_their_checkpoints_are_refused(connect):
    answer = api.ListResponse(contents=[{"payload_included": True}])
    error, _ = await asked(connect, drained("history", "n"), List=answer)
    assert type(error) is holdfast.InternalError


async def test_a_writer_without_an_epoch_is_refused(connect):
    error, _ = await asked(
        connect, lambda client: client.acquire_writer("n", "w"), AcquireWriter=api.AcquireWriterResponse()
    )
    assert type(error) is holdfast.InternalError


# Answers that are not messages


class Garbage(grpc.GenericRpcHandler):
    def service(self, details):
        async def unary(request, context):
            return b"\xff\xff\xff"

        async def stream(request, context):
            yield header().SerializeToString()
            yield b"\xff\xff\xff"

        if details.method.endswith("/LoadStream"):
            return grpc.unary_stream_rpc_method_handler(stream)
        if details.method.endswith("/SaveStream"):
            return grpc.stream_unary_rpc_method_handler(unary)
        return grpc.unary_unary_rpc_method_handler(unary)


async def test_bytes_that_are_not_a_message_are_an_error_of_the_sdk(connect):
    running = grpc.aio.server()
    running.add_generic_rpc_handlers((Garbage(),))
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    calls = (
        lambda client: client.load("n", "w"),
        lambda client: client.save("n", "w", b"x", format=FORMAT),
        lambda client: client.save("n", "w", bytes(2 << 20), format=FORMAT),
        lambda client: client.records("n", "w", "c"),
        lambda client: client.delete("n", "w", "c"),
    )
    async with connect(f"127.0.0.1:{port}", timeout=5) as client:
        for call in calls:
            with pytest.raises(holdfast.InternalError):
                await call(client)
    await running.stop(0)
