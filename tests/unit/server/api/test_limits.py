"""Permits and bytes of each caller are counted, bounded and released; answers fit gRPC's own limits."""

import asyncio
import gzip
import logging
from contextlib import AsyncExitStack, suppress

import grpc
import holdfast
import pytest
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server.api import limits, requests
from holdfast_server.api.admission import Admission
from holdfast_server.api.calls import Calls
from holdfast_server.api.capacity import Capacity
from holdfast_server.api.errors import CallFailedError
from holdfast_server.api.grpc_methods import GrpcContext
from holdfast_server.protocol.errors import HoldfastError

from tests.support.context import Context
from tests.support.cutting_proxy import CuttingProxy
from tests.support.watched import serving_watched
from tests.unit.server.api.calls import WORKFLOW, chunk, header, reason, refusal


def save(number=0, size=1, **changes):
    return api.SaveRequest(
        header=header(**({"request_id": f"r{number}"} | changes)), parts=[checkpoint_pb2.Part(data=b"x" * size)]
    )


@pytest.fixture
async def connect():
    """Return a function that opens connections, each with a socket of its own."""
    async with AsyncExitStack() as exit_stack:

        async def open_one(target, *options):
            options = (("grpc.use_local_subchannel_pool", 1), *options)
            channel = await exit_stack.enter_async_context(grpc.aio.insecure_channel(target, options=options))
            return CheckpointServiceStub(channel)

        yield open_one


async def opened(stub, **changes):
    """Return a stream whose header the server has accepted or refused."""
    stream = stub.SaveStream(metadata=(("holdfast-resume", "1"),))
    await stream.write(api.SaveStreamRequest(header=header(**changes)))
    await stream.initial_metadata()
    return stream


async def test_streams_that_send_only_a_header_leave_permits_for_other_connections_and_unary_calls(served, connect):
    idle = await connect(served.target)
    streams = [await opened(idle, request_id=f"idle{number}", namespace=f"n{number}") for number in range(64)]
    # This connection has used its share; other connections and its own unary calls are admitted.
    assert await reason(await opened(idle, request_id="one more", namespace="more")) == "OVERLOADED"
    other = await connect(served.target)
    assert (await idle.Save(save())).checkpoint.revision == 1
    assert (await other.Save(save(1))).checkpoint.revision == 2
    stream = other.SaveStream()
    for message in (
        api.SaveStreamRequest(header=header(request_id="s")),
        chunk(b"x"),
        api.SaveStreamRequest(finish=api.SaveStreamFinish(size_bytes=1)),
    ):
        await stream.write(message)
    await stream.done_writing()
    assert (await stream).checkpoint.revision == 3
    for stream in streams:
        stream.cancel()


async def test_one_namespace_gets_a_share_of_the_streams(served, connect):
    streams = []
    for number in range(64):
        if number % 32 == 0:
            stub = await connect(served.target)
        streams.append(await opened(stub, request_id=f"idle{number}"))
    stub = await connect(served.target)
    refused = await refusal(await opened(stub, request_id="one more"))
    assert refused[error_details_pb2.ErrorInfo].reason == "OVERLOADED"
    assert refused[error_details_pb2.RequestInfo].request_id == "one more"
    (await opened(stub, namespace="another")).cancel()
    for stream in streams:
        stream.cancel()


async def test_streams_release_their_permits_when_they_end(served, connect):
    for _ in range(3):
        stub = await connect(served.target)
        streams = [await opened(stub, request_id=f"idle{number}") for number in range(64)]
        for stream in streams:
            stream.cancel()
        for stream in streams:
            with pytest.raises(asyncio.CancelledError):
                await stream


def test_held_bytes_are_counted_and_streams_leave_a_quarter_to_unary_calls():
    admission = Admission(Capacity(calls=8, bytes=8))
    with (
        admission.permit("a", is_stream=True) as alone,
        admission.permit("b", is_stream=True) as late,
        admission.permit("b", is_stream=False) as unary,
    ):
        # The bytes of a single call are bounded only by the limit of its payload.
        alone.hold(100)
        alone.hold(5)
        late.hold(1)
        with pytest.raises(HoldfastError, match="hold 6 of 6 bytes"):
            late.hold(2)
        unary.hold(2)
        with pytest.raises(HoldfastError, match="hold 8 of 8 bytes"):
            unary.hold(3)
        alone.release()
        late.hold(6)
        unary.hold(2)


def test_streams_read_far_ahead_only_while_half_of_their_bytes_are_free():
    admission = Admission(Capacity(calls=8, bytes=32))
    with (
        admission.permit("a", is_stream=True) as first,
        admission.permit("b", is_stream=True) as second,
        admission.permit("c", is_stream=True) as third,
    ):
        # Streams may hold 24 bytes together.
        assert first.hold_some(3, 8) == 8
        assert second.hold_some(3, 8) == 3
        assert third.hold_some(0, 0) == 0
        first.release()
        assert third.hold_some(3, 8) == 8


async def test_a_stream_above_the_limit_of_bytes_is_refused_and_unary_calls_are_admitted(tmp_path, connect):
    async with serving_watched(tmp_path, bytes_in_flight=8 << 20) as served:
        stub = await connect(served.target)
        streams = [await opened(stub, request_id=name, workflow_id=name) for name in ("a", "b")]
        for number in range(4):
            for stream in streams:
                with suppress(asyncio.InvalidStateError):
                    await stream.write(chunk(b"x" * (1 << 20), number << 20))
        ended = [asyncio.ensure_future(stream.code()) for stream in streams]
        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        assert "OVERLOADED" in [await reason(stream) for stream in streams if stream.done()]
        assert (await stub.Save(save(1))).checkpoint.revision == 1
        for stream in streams:
            stream.cancel()


async def test_a_drain_accepts_calls_that_end_at_the_same_time():
    async def ends_slowly(call):
        try:
            await asyncio.sleep(1)
        finally:
            await asyncio.sleep(0.05)

    async def fails(call):
        await asyncio.wait_for(ends_slowly(call), 0.001)

    for delay in (0.0, 0.01, 0.1):
        admitting = Calls(limit=8, bytes_limit=8, longest_seconds=0.1)
        ending = [
            asyncio.create_task(admitting.run("Load", GrpcContext(Context()), None, body))
            for body in (ends_slowly, fails)
        ]
        await asyncio.sleep(delay)
        admitting.drain(0.05)
        await admitting.ended()
        ended = await asyncio.gather(*ending, return_exceptions=True)
        assert [type(each) for each in ended] == [CallFailedError] * 2


async def test_a_stream_that_sends_nothing_is_ended_and_its_retry_continues(served, connect, monkeypatch):
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.2)
    stub = await connect(served.target)
    stream = await opened(stub)
    await stream.write(chunk(b"abc"))
    assert await reason(stream) == "DEADLINE_EXCEEDED"
    again = stub.SaveStream(metadata=(("holdfast-resume", "1"),))
    await again.write(api.SaveStreamRequest(header=header()))
    assert ("holdfast-received", "0:3") in list(await again.initial_metadata())
    again.cancel()


async def test_a_caller_that_does_not_read_loses_its_permit_and_gets_its_status_once_it_reads(
    tmp_path, connect, monkeypatch
):
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.3)
    async with serving_watched(tmp_path, calls_in_flight=1) as served:
        async with holdfast.AsyncClient(served.target) as client:
            await client.save("n", "w", b"x" * (64 << 20), format=holdfast.Format("f", 1))
            stub = await connect(served.target)
            stream = stub.LoadStream(api.LoadStreamRequest(**WORKFLOW))
            await stream.read()
            await client.save("n", "w", b"y", format=holdfast.Format("f", 1), timeout=20)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read_all(stream)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def read_all(stream):
    while await stream.read() is not grpc.aio.EOF:
        pass


async def test_a_caller_that_has_vanished_from_the_network_loses_its_permits(tmp_path, connect):
    async with (
        serving_watched(tmp_path, calls_in_flight=2, keepalive_seconds=1) as served,
        CuttingProxy(served.target).running() as proxy,
    ):
        vanishing = await opened(await connect(f"127.0.0.1:{proxy.port}"))
        other = await connect(served.target)
        assert await reason(await opened(other, request_id="s", namespace="m")) == "OVERLOADED"
        proxy.speaks.clear()
        await eventually_opened(other)
        vanishing.cancel()
        proxy.speaks.set()


async def eventually_opened(stub):
    async with asyncio.timeout(20):
        while True:
            stream = await opened(stub, request_id="s", namespace="m")
            if dict(await stream.initial_metadata()):
                stream.cancel()
                return
            with suppress(grpc.aio.AioRpcError):
                await stream


async def all_pages(call, request, stub):
    pages = []
    while not pages or request.page_token:
        pages.append(await getattr(stub, call)(request))
        assert pages[-1].ByteSize() <= 3 << 20
        request.page_token = pages[-1].next_page_token
    return pages


async def test_pages_of_checkpoints_with_many_parts_and_labels_fit(served, connect):
    stub = await connect(served.target)
    parts = [checkpoint_pb2.Part(name=f"{number:03d}" + "p" * 253) for number in range(256)]
    labels = {f"{number}" + "l" * 100: "v" * 1000 for number in range(60)}
    for number in range(80):
        await stub.Save(api.SaveRequest(header=header(request_id=str(number), labels=labels), parts=parts))
    pages = await all_pages("List", api.ListRequest(page_size=1000, **WORKFLOW), stub)
    assert len(pages) > 1
    found = [each.revision for page in pages for each in page.checkpoints]
    assert found == list(range(80, 0, -1))
    assert all(len(each.parts) == 256 and len(each.labels) == 60 for page in pages for each in page.checkpoints)


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) - 1000, 700_000, 400_000])
async def test_pages_with_payloads_fit_and_hold_each_of_them(served, connect, size):
    stub = await connect(served.target)
    for number in range(6):
        await stub.Save(save(number, size))
    pages = await all_pages("List", api.ListRequest(view=api.CHECKPOINT_VIEW_PAYLOAD, **WORKFLOW), stub)
    contents = [each for page in pages for each in page.contents]
    assert [each.payload_included for each in contents] == [True] * 6
    assert [each.revision for page in pages for each in page.checkpoints] == list(range(6, 0, -1))


async def attach(stub, number, count, size, **changes):
    records = [checkpoint_pb2.Record(key=f"{number:04d}-{each:04d}", data=b"x" * size) for each in range(count)]
    fields = {"checkpoint_id": "c", "request_id": f"a{number}", "records": records} | WORKFLOW | changes
    await stub.AttachRecords(api.AttachRecordsRequest(**fields))


async def test_records_come_in_pages_that_fit_and_those_of_a_load_too(served, connect):
    stub = await connect(served.target)
    await stub.Save(save(0, 1 << 20, checkpoint_id="c"))
    for number in range(5):
        await attach(stub, number, 1000, 500)
    # Records without data are not free.
    await attach(stub, 9, 1000, 0)
    pages = await all_pages("ListRecords", api.ListRecordsRequest(checkpoint_id="c", **WORKFLOW), stub)
    keys = [each.key for page in pages for each in page.records]
    assert keys == sorted(keys)
    assert len(keys) == len(set(keys)) == 6000
    loaded = await stub.Load(api.LoadRequest(view=api.CHECKPOINT_VIEW_FULL, **WORKFLOW))
    assert (loaded.payload_included, loaded.records_included) == (True, False)
    listed = await stub.List(api.ListRequest(view=api.CHECKPOINT_VIEW_FULL, **WORKFLOW))
    assert (listed.contents[0].payload_included, listed.contents[0].records_included) == (True, False)


async def test_a_page_of_records_is_no_larger_than_requested(served, connect):
    stub = await connect(served.target)
    # Later batches may sort before the first one or replace its records: a page is the result of all batches.
    for number in (1, 0):
        await attach(stub, number, 7, 10)
    replaced = checkpoint_pb2.Record(key="0000-0002", data=b"y", replace=True)
    await stub.AttachRecords(
        api.AttachRecordsRequest(checkpoint_id="c", request_id="z", records=[replaced], **WORKFLOW)
    )
    request = api.ListRecordsRequest(checkpoint_id="c", page_size=3, **WORKFLOW)
    pages = await all_pages("ListRecords", request, stub)
    assert [len(page.records) for page in pages] == [3, 3, 3, 3, 2]
    found = [each for page in pages for each in page.records]
    assert [each.key for each in found] == [f"{number:04d}-{each:04d}" for number in (0, 1) for each in range(7)]
    assert [each.data for each in found if each.key == "0000-0002"] == [b"y"]


@pytest.mark.parametrize("size", [-1, 1001])
async def test_a_page_of_records_that_is_too_large_is_refused(served, connect, size):
    stub = await connect(served.target)
    refused = await refusal(stub.ListRecords(api.ListRecordsRequest(checkpoint_id="c", page_size=size, **WORKFLOW)))
    (violation,) = refused[error_details_pb2.BadRequest].field_violations
    assert (violation.field, violation.description) == ("page_size", f"expected 0 to 1000, got {size}")


VIEWS = [
    (api.CHECKPOINT_VIEW_ID, False, False, False),
    (api.CHECKPOINT_VIEW_METADATA, True, False, False),
    (api.CHECKPOINT_VIEW_PAYLOAD, True, True, False),
    (api.CHECKPOINT_VIEW_FULL, True, True, True),
]


@pytest.mark.parametrize(("view", "metadata", "payload", "records"), VIEWS)
async def test_a_view_says_how_much_of_a_checkpoint_is_returned(served, connect, view, metadata, payload, records):
    stub = await connect(served.target)
    await stub.Save(save(0, 10, checkpoint_id="c"))
    await attach(stub, 0, 2, 1)

    loaded = await stub.Load(api.LoadRequest(view=view, **WORKFLOW))
    assert (loaded.checkpoint.checkpoint_id, loaded.checkpoint.revision) == ("c", 1)
    assert loaded.checkpoint.HasField("format") is metadata
    assert (loaded.payload_included, loaded.records_included) == (payload, records)
    assert (len(loaded.parts), len(loaded.records)) == (int(payload), 2 * records)

    listed = await stub.List(api.ListRequest(view=view, **WORKFLOW))
    assert listed.checkpoints[0] == loaded.checkpoint
    assert len(listed.contents) == int(payload)
    for content in listed.contents:
        assert (content.payload_included, content.records_included) == (payload, records)


async def test_without_a_view_a_load_returns_the_payload_and_a_list_the_metadata(served, connect):
    stub = await connect(served.target)
    await stub.Save(save(0, 10))
    loaded, listed = await stub.Load(api.LoadRequest(**WORKFLOW)), await stub.List(api.ListRequest(**WORKFLOW))
    assert (loaded.payload_included, loaded.records_included) == (True, False)
    assert (listed.checkpoints[0].HasField("format"), len(listed.contents)) == (True, 0)


@pytest.mark.parametrize("call", ["Load", "List"])
async def test_a_view_that_is_not_known_is_refused(served, connect, call):
    stub = await connect(served.target)
    await stub.Save(save(0, 10))
    refused = await refusal(getattr(stub, call)(getattr(api, f"{call}Request")(view=99, **WORKFLOW)))
    assert [each.field for each in refused[error_details_pb2.BadRequest].field_violations] == ["view"]


async def test_a_checkpoint_has_only_so_many_records(served, connect):
    stub = await connect(served.target)
    refused = []
    for number in range(24):
        try:
            await attach(stub, number, 1, (3 << 20) - 100)
        except grpc.aio.AioRpcError as error:
            refused.append((error.code(), "limit" in error.details()))
    assert refused == [(grpc.StatusCode.RESOURCE_EXHAUSTED, True)] * 3
    await attach(stub, 0, 1, 1, checkpoint_id="another")


async def test_a_save_of_a_few_megabytes_too_many_names_its_field(served, connect):
    stub = await connect(served.target)
    for size in ((1 << 20) + 1, 4 << 20, 5 << 20):
        refused = await refusal(stub.Save(save(0, size)))
        assert refused[error_details_pb2.ErrorInfo].reason == "PAYLOAD_TOO_LARGE"
        assert refused[error_details_pb2.BadRequest].field_violations[0].field == "parts"


async def test_a_compressed_message_counts_by_what_it_inflates_to(served, connect):
    stub = await connect(served.target)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Save(save(0, 64 << 20), compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await stub.Save(save(0, 1 << 20), compression=grpc.Compression.Gzip)).checkpoint.revision == 1
    assert len(gzip.compress(save(0, 64 << 20).SerializeToString(), 1)) < 1 << 20


@pytest.mark.parametrize("size", [9_000, 12_000, 16_000, 50_000])
async def test_metadata_of_tokens_and_baggage_is_accepted(served, connect, size):
    stub = await connect(served.target)
    for number in range(20):
        request = save(number)
        await stub.Save(request, metadata=(("authorization", "x" * size),))


async def test_a_deadline_that_passes_in_the_server_is_reported_with_details(served, connect):
    stub = await connect(served.target)
    await stub.Save(save())
    stuck = asyncio.Event()

    async def wait(operation, key):
        await stuck.wait()

    served.store.before = wait
    for timeout in (0.5, 1.5):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Load(api.LoadRequest(**WORKFLOW), timeout=timeout)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "grpc-status-details-bin" in dict(caught.value.trailing_metadata())


async def test_an_overloaded_server_names_the_request(tmp_path, connect):
    async with serving_watched(tmp_path, calls_in_flight=2) as served:
        stubs = [await connect(served.target) for _ in range(4)]
        stuck, arrived = asyncio.Event(), asyncio.Semaphore(0)

        async def wait(operation, key):
            arrived.release()
            await stuck.wait()

        served.store.before = wait
        waiting = []
        for number in range(2):
            waiting.append(asyncio.ensure_future(stubs[number].Save(save(number, workflow_id=f"w{number}"))))
            await arrived.acquire()
        refused = await refusal(stubs[2].Save(save(2)))
        assert refused[error_details_pb2.ErrorInfo].reason == "OVERLOADED"
        assert refused[error_details_pb2.RequestInfo].request_id == "r2"
        stuck.set()
        await asyncio.gather(*waiting)


@pytest.mark.parametrize("value", [3, -1, 2**31 - 1])
async def test_an_unknown_fallback_is_refused(served, connect, value):
    stub = await connect(served.target)
    await stub.Save(save())
    refused = await refusal(stub.Load(api.LoadRequest(fallback=value, **WORKFLOW)))
    assert refused[error_details_pb2.BadRequest].field_violations[0].field == "fallback"


async def test_long_text_is_shortened_in_the_log(served, connect, caplog):
    stub = await connect(served.target)
    caplog.set_level(logging.DEBUG, "holdfast")
    for changes in (
        {"request_id": "\N{GRINNING FACE}" * 900_000},
        {"workflow_id": "x" * 3_900_000},
        {"checkpoint_id": "\x1b" * 3_900_000},
        {"labels": {"k" * 3_000_000: "v"}},
        {"labels": {"k": "v" * 3_000_000}},
    ):
        assert await reason(stub.Save(save(**changes))) == "INVALID_REQUEST"
    logged = [record for record in caplog.records if record.name == "holdfast.server"]
    assert logged
    assert all(sum(len(str(value)) for value in vars(record).values()) < 10_000 for record in logged)


async def test_too_many_labels_are_refused_before_they_are_copied(served, connect, monkeypatch):
    stub = await connect(served.target)
    monkeypatch.setattr(requests, "dict", lambda given: pytest.fail("copied"), raising=False)
    request = save(labels={str(number): "v" for number in range(300_000)})
    refused = await refusal(stub.Save(request))
    assert refused[error_details_pb2.BadRequest].field_violations[0].field == "labels"


BAD = ["\x00", "\x1b[31m", "\x7f", "\x85", "\x9b", "\u202e", "\u2066", "\u200f", "\u061c", "\u2028", "\u2029"]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("field", ["namespace", "workflow_id", "checkpoint_id", "parent_id", "request_id"])
async def test_control_and_bidirectional_characters_are_refused_in_ids(served, connect, field, bad):
    stub = await connect(served.target)
    refused = await refusal(stub.Save(save(**{field: f"a{bad}b"})))
    assert refused[error_details_pb2.BadRequest].field_violations[0].field == field


async def test_all_scripts_and_joined_emoji_are_allowed_in_ids(served, connect):
    stub = await connect(served.target)
    for number, name in enumerate(
        ("\u0628\u0650\u0633\u0652\u0645", "\U0001f469\u200d\U0001f680", "\u05e9\u05dc", "e\u0301")
    ):
        await stub.Save(save(number, workflow_id=name, checkpoint_id=name))
        assert (await stub.Load(api.LoadRequest(namespace="n", workflow_id=name))).checkpoint.checkpoint_id == name


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_both_versions_of_reflection_describe_the_service(served, version):
    async with grpc.aio.insecure_channel(served.target) as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        names = {each.name for each in (await call.read()).list_services_response.service}
        assert {"holdfast.v1.CheckpointService", f"grpc.reflection.{version}.ServerReflection"} <= names
        for symbol in ("holdfast.v1.CheckpointService", f"grpc.reflection.{version}.ServerReflection"):
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
            assert (await call.read()).file_descriptor_response.file_descriptor_proto
        await call.done_writing()
