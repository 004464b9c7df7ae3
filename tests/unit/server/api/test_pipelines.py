"""A call in a pipeline behaves like the same call alone, and one pipeline leaves room for others."""

import asyncio
from contextlib import AsyncExitStack, suppress

import grpc
import pytest
from google.rpc import error_details_pb2
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server.api import limits
from holdfast_server.api.pipeline.received import METHODS
from holdfast_server.api.service import UNARY

from tests.support.cutting_proxy import CuttingProxy
from tests.support.pipelines import PipelineCaller, field, pipeline, reason, status
from tests.support.watched import serving_watched
from tests.unit.server.api.calls import WORKFLOW, header, refusal

TRACE = "0af7651916cd43dd8448eb211c80319c"


def save(call_id, size=1, *, timeout=None, **changes):
    request = api.SaveRequest(
        header=header(**({"request_id": f"r{call_id}"} | changes)), parts=[checkpoint_pb2.Part(data=b"x" * size)]
    )
    call = api.PipelineCall(call_id=call_id, save=request)
    if timeout is not None:
        call.timeout.FromMilliseconds(int(timeout * 1000))
    return call


def load(call_id, **changes):
    return api.PipelineCall(call_id=call_id, load=api.LoadRequest(**(WORKFLOW | changes)))


def raw_call(call_id, number, body):
    """Return a PipelineCall as bytes, with any bytes as its request."""
    assert call_id < 128
    assert number < 16
    assert len(body) < 128
    return bytes([8, call_id, number << 3 | 2, len(body)]) + body


def raw_message(*calls):
    return b"".join(bytes([10, len(call)]) + call for call in calls)


class Stall:
    """Lets the store's writes wait until `go` is set, and counts those that wait and those that were cancelled."""

    def __init__(self, store) -> None:
        self.go = asyncio.Event()
        self.waiting = 0
        self.cancelled = 0
        self._changed = asyncio.Condition()
        store.before = self

    async def __call__(self, operation, key):
        if operation != "put_if_absent":
            return
        await self._change(waiting=1)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            await self._change(cancelled=1)
            raise
        finally:
            await self._change(waiting=-1)

    async def _change(self, *, waiting=0, cancelled=0):
        async with self._changed:
            self.waiting += waiting
            self.cancelled += cancelled
            self._changed.notify_all()

    async def reaches(self, *, waiting=None, cancelled=None):
        """Wait until as many writes wait, or as many were cancelled."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(
                lambda: waiting in (None, self.waiting) and cancelled in (None, self.cancelled)
            )

    async def stays_at(self, waiting):
        """Check that no further write comes, although the server has had time for it."""
        await self.reaches(waiting=waiting)
        for _ in range(20):
            await asyncio.sleep(0.005)
            assert self.waiting == waiting


@pytest.fixture
async def piped(served):
    async with pipeline(served.target) as caller:
        yield caller


@pytest.fixture
async def raw_stream(served):
    """Return a pipeline whose messages are bytes."""
    async with grpc.aio.insecure_channel(served.target) as channel:
        call = channel.stream_stream(
            "/holdfast.v1.CheckpointService/Pipeline", response_deserializer=api.PipelineResponse.FromString
        )
        yield call()


def test_every_unary_method_can_be_called_and_answered_under_the_same_number():
    assert {method.name for method in METHODS} == {*UNARY}
    answers = api.PipelineAnswer.DESCRIPTOR.fields_by_number
    service = api.DESCRIPTOR.services_by_name["CheckpointService"]
    for method in METHODS:
        assert answers[method.number].message_type is service.methods_by_name[method.name].output_type
        assert answers[method.number].name == api.PipelineCall.DESCRIPTOR.fields_by_number[method.number].name


async def test_calls_of_every_kind_are_answered_like_unary_calls(served, piped):
    await piped.send(save(1, checkpoint_id="c"))
    assert (await piped.answer(1)).save.checkpoint.checkpoint_id == "c"
    requests = {
        "load": api.LoadRequest(**WORKFLOW),
        "list": api.ListRequest(**WORKFLOW),
        "validate": api.ValidateRequest(**WORKFLOW),
        "list_workflows": api.ListWorkflowsRequest(namespace="n"),
        "list_records": api.ListRecordsRequest(checkpoint_id="c", **WORKFLOW),
        "get_upload": api.GetUploadRequest(request_id="none", **WORKFLOW),
        "get_capabilities": api.GetCapabilitiesRequest(),
        "list_namespaces": api.ListNamespacesRequest(),
        "get_store_status": api.GetStoreStatusRequest(),
    }
    await piped.send(
        *(api.PipelineCall(call_id=number, **{name: each}) for number, (name, each) in enumerate(requests.items(), 10))
    )
    async with grpc.aio.insecure_channel(served.target) as channel:
        stub = CheckpointServiceStub(channel)
        for number, (name, request) in enumerate(requests.items(), 10):
            alone = await getattr(stub, "".join(map(str.title, name.split("_"))))(request)
            assert getattr(await piped.answer(number), name) == alone


async def test_calls_that_write_take_effect(piped):
    appended = {"request_id": "d", **WORKFLOW}
    records = [checkpoint_pb2.Record(key="k", data=b"v")]
    steps = {
        "acquire_writer": api.AcquireWriterRequest(**{**appended, "request_id": "a"}),
        "attach_records": api.AttachRecordsRequest(checkpoint_id="c", records=records, **appended),
        "prune": api.PruneRequest(keep_last=1, **{**appended, "request_id": "p"}),
        "copy_workflow": api.CopyWorkflowRequest(target_workflow_id="v", **{**appended, "request_id": "k"}),
        "delete": api.DeleteRequest(checkpoint_id="c", **{**appended, "request_id": "x"}),
        "delete_checkpoints": api.DeleteCheckpointsRequest(all=True, **{**appended, "request_id": "y"}),
        "delete_workflow": api.DeleteWorkflowRequest(**{**appended, "request_id": "z"}),
        "delete_workflows": api.DeleteWorkflowsRequest(namespace="n", all=True, request_id="q"),
    }
    await piped.send(save(1, checkpoint_id="b"), save(2, checkpoint_id="c"))
    assert [each.save.checkpoint.revision for each in await piped.answers(1, 2)] == [1, 2]
    outcomes = {}
    for number, (name, request) in enumerate(steps.items(), 3):
        await piped.send(api.PipelineCall(call_id=number, **{name: request}))
        outcomes[name] = getattr(await piped.answer(number), name)
    assert outcomes["acquire_writer"].epoch == 1
    assert outcomes["attach_records"].stamp > 0
    assert outcomes["prune"].deleted == 1
    assert outcomes["copy_workflow"].copied == 1
    assert outcomes["delete"].revision > 2
    assert outcomes["delete_workflows"].deleted == 1


async def test_answers_that_wait_share_a_message(served, piped):
    stall = Stall(served.store)
    await piped.send(*(save(number, workflow_id=f"w{number}") for number in range(1, 33)))
    await stall.reaches(waiting=32)
    stall.go.set()
    await piped.answers(*range(1, 33))
    # The limits come alone, and the first answer may.
    assert len(piped.messages) < 16


async def test_large_answers_do_not_exceed_the_size_of_a_message(piped):
    size = 1 << 20
    await piped.send(save(1, size))
    await piped.answer(1)
    await piped.send(*(load(number) for number in range(2, 10)))
    for answer in await piped.answers(*range(2, 10)):
        assert len(answer.load.parts[0].data) == size
    assert max(message.ByteSize() for message in piped.messages) < size + 10_000


async def test_saves_of_one_workflow_in_one_message_are_committed_in_their_order(piped):
    await piped.send(*(save(number, workflow_id="one") for number in range(1, 21)))
    revisions = [each.save.checkpoint.revision for each in await piped.answers(*range(1, 21))]
    assert revisions == list(range(1, 21))


async def test_the_first_message_holds_the_limits_and_calls_need_not_wait_for_it(piped):
    await piped.send(save(1))
    await piped.answer(1)
    stated = piped.messages[0].limits
    assert (stated.calls, stated.bytes) == (128, 64 << 20)
    assert 1600 < stated.age.seconds < 2000
    assert stated.idle.seconds == 300
    assert not any(message.HasField("limits") for message in piped.messages[1:])


async def test_the_feature_is_listed(piped):
    await piped.send(api.PipelineCall(call_id=1, get_capabilities=api.GetCapabilitiesRequest()))
    assert "pipeline" in (await piped.answer(1)).get_capabilities.features


async def test_a_failed_call_fails_alone_and_with_its_own_details(piped):
    refused = load(2, workflow_id="none")
    refused.traceparent = f"00-{TRACE}-b7ad6b7169203331-01"
    too_large = save(4, (1 << 20) + 1)
    await piped.send(save(1), refused, save(3, format=checkpoint_pb2.Format()), too_large, save(5))
    assert (await piped.answer(1)).save.checkpoint.revision == 1
    assert (await piped.answer(5)).save.checkpoint.revision == 2
    not_found, invalid, large = await piped.answers(2, 3, 4)
    assert (reason(not_found), reason(invalid), reason(large)) == (
        "WORKFLOW_NOT_FOUND",
        "INVALID_REQUEST",
        "PAYLOAD_TOO_LARGE",
    )
    assert field(invalid) == "format.name"
    ids = error_details_pb2.RequestInfo()
    assert any(each.Unpack(ids) for each in status(not_found).details)
    assert ids.serving_data == TRACE
    assert any(each.Unpack(ids) for each in status(invalid).details)
    assert ids.request_id == "r3"
    assert await piped.end() is grpc.StatusCode.OK


@pytest.mark.parametrize("number", [method.number for method in METHODS if method.number < 16])
@pytest.mark.parametrize("body", [b"\x0a\x01\xff", b"\x0a\x03\x0a\x01\xff", b"\xff\xff", b"\x0a\x7f"])
async def test_a_malformed_call_is_refused_like_a_unary_one_and_alone(raw_stream, served, number, body):
    stream = raw_stream
    good = [load(number, workflow_id="none").SerializeToString() for number in (1, 3)]
    await stream.write(raw_message(good[0], raw_call(2, number, body), good[1]))
    caller = PipelineCaller(stream)
    assert [reason(each) for each in await caller.answers(1, 3)] == ["WORKFLOW_NOT_FOUND"] * 2
    [method] = [each for each in METHODS if each.number == number]
    async with grpc.aio.insecure_channel(served.target) as channel:
        alone = await refusal(channel.unary_unary(f"/holdfast.v1.CheckpointService/{method.name}")(body))
    refused = await caller.answer(2)
    assert reason(refused) == alone[error_details_pb2.ErrorInfo].reason == "INVALID_REQUEST"
    assert field(refused) == alone[error_details_pb2.BadRequest].field_violations[0].field


async def test_metadata_of_a_call_that_cannot_be_parsed_is_named(raw_stream):
    await raw_stream.write(raw_message(b"\x08\x01\x1a\x01\xff" + raw_call(1, 12, b"")))
    refused = await PipelineCaller(raw_stream).answer(1)
    assert (reason(refused), field(refused)) == ("INVALID_REQUEST", "traceparent")


async def test_a_call_that_this_server_does_not_know_is_unimplemented(raw_stream):
    # Field 99 of PipelineCall: a method of a later version.
    await raw_stream.write(raw_message(b"\x08\x01\x9a\x06\x00", b"\x08\x02"))
    caller = PipelineCaller(raw_stream)
    unknown, empty = await caller.answers(1, 2)
    assert reason(unknown) == "UNIMPLEMENTED"
    assert (reason(empty), field(empty)) == ("INVALID_REQUEST", "request")


async def test_unknown_fields_of_a_message_are_skipped(raw_stream):
    await raw_stream.write(b"\x9a\x06\x00")
    await raw_stream.write(b"\x98\x06\x01" + raw_message(load(1).SerializeToString()))
    assert reason(await PipelineCaller(raw_stream).answer(1)) == "WORKFLOW_NOT_FOUND"


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (b"", "message"),
        (b"\x0a\x7f", "message"),
        (b"\x0b", "message"),
        (b"\x12\x01\xff", "message"),
        (raw_message(b""), "calls.call_id"),
        (raw_message(b"\x08\x00" + raw_call(1, 12, b"")[2:]), "calls.call_id"),
        (raw_message(b"\x08" + b"\xff" * 9 + b"\x01"), "calls.call_id"),
        (raw_message(b"\x0a\x01\xff"), "calls.call_id"),
        (raw_message(*[raw_call(1, 12, b"")] * 1001), "calls"),
        ((b"\x12\x7f" + b"\x01" * 127) * 8, "cancelled_call_ids"),
        (b"\x9a\x06\x00" * 101, "message"),
    ],
)
async def test_a_message_without_a_meaning_ends_the_pipeline_and_names_the_field(raw_stream, message, named):
    await raw_stream.write(message)
    details = await refusal(read_all(raw_stream))
    assert details[error_details_pb2.ErrorInfo].reason == "INVALID_REQUEST"
    assert details[error_details_pb2.BadRequest].field_violations[0].field == named


async def read_all(stream):
    while await stream.read() is not grpc.aio.EOF:
        pass
    if await stream.code() is not grpc.StatusCode.OK:
        raise grpc.aio.AioRpcError(
            await stream.code(), await stream.initial_metadata(), await stream.trailing_metadata()
        )


async def test_an_id_that_is_in_flight_ends_the_pipeline_and_cancels_its_calls(served, piped):
    stall = Stall(served.store)
    await piped.send(save(1))
    await stall.reaches(waiting=1)
    await piped.send(save(1, request_id="other"))
    details = await refusal(read_all(piped.stream))
    assert details[error_details_pb2.BadRequest].field_violations[0].description == "1 is in flight already"
    await stall.reaches(waiting=0)
    assert stall.cancelled == 1


async def test_an_id_may_be_used_again_once_its_call_is_answered(piped):
    for number in range(3):
        await piped.send(save(1, request_id=f"r{number}"))
        assert (await piped.answer(1)).save.checkpoint.revision == number + 1


async def test_a_cancelled_call_is_answered_once_and_others_go_on(served, piped):
    stall = Stall(served.store)
    await piped.send(save(1), save(2, workflow_id="v"))
    await stall.reaches(waiting=2)
    await piped.send(save(3, workflow_id="u"), cancelled=(1, 77))
    assert reason(await piped.answer(1)) == "CANCELLED"
    stall.go.set()
    for answer in await piped.answers(2, 3):
        assert answer.save.checkpoint.revision == 1
    # The answer and the cancellation cross.
    await piped.send(cancelled=(2,))
    assert await piped.end() is grpc.StatusCode.OK
    assert stall.cancelled == 1


async def test_a_caller_at_the_limit_of_calls_can_cancel_them(tmp_path):
    async with serving_watched(tmp_path, calls_in_flight=4) as served, pipeline(served.target) as piped:
        stall = Stall(served.store)
        assert (await piped.limits()).calls == 2
        await piped.send(save(1), save(2, workflow_id="v"))
        await stall.reaches(waiting=2)
        await piped.send(cancelled=(1, 2))
        assert [reason(each) for each in await piped.answers(1, 2)] == ["CANCELLED"] * 2


async def test_each_call_has_its_own_deadline(served, piped):
    stall = Stall(served.store)
    await piped.send(save(1, timeout=0.1), save(2, workflow_id="v", timeout=60), save(3, workflow_id="u", timeout=-1))
    # The first may have begun to commit.
    assert reason(await piped.answer(1)) in ("COMMIT_UNKNOWN", "DEADLINE_EXCEEDED")
    assert reason(await piped.answer(3)) == "DEADLINE_EXCEEDED"
    stall.go.set()
    assert (await piped.answer(2)).save.checkpoint.revision == 1


async def test_a_retry_by_something_that_does_not_set_the_attempt_finds_the_first_commit(served, piped):
    first = save(1, request_id="r")
    first.save.header.attempt.number = 1
    await piped.send(first)
    assert not (await piped.answer(1)).save.replayed
    first.previous_attempts = 1
    await piped.send(first)
    assert (await piped.answer(1)).save.replayed


async def test_calls_beyond_the_limit_wait_for_the_answers_of_earlier_ones(tmp_path):
    async with serving_watched(tmp_path, calls_in_flight=8) as served, pipeline(served.target) as piped:
        stall = Stall(served.store)
        for first in (1, 7):
            await piped.send(*(save(number, workflow_id=f"w{number}") for number in range(first, first + 6)))
        await stall.stays_at(4)
        stall.go.set()
        for answer in await piped.answers(*range(1, 13)):
            assert answer.save.checkpoint.revision == 1


async def test_calls_beyond_the_limit_of_bytes_wait(tmp_path):
    settings = {"bytes_in_flight": 1 << 20, "inline_limit_bytes": 1 << 20}
    async with serving_watched(tmp_path, **settings) as served, pipeline(served.target) as piped:
        stall = Stall(served.store)
        assert (await piped.limits()).bytes == 1 << 18
        await piped.send(*(save(number, 100_000, workflow_id=f"w{number}") for number in range(1, 9)))
        # The third exceeds the limit, the fourth waits for it.
        await stall.stays_at(3)
        stall.go.set()
        for answer in await piped.answers(*range(1, 9)):
            assert answer.save.checkpoint.revision == 1


async def test_one_connection_leaves_half_of_the_calls_to_others(tmp_path):
    async with serving_watched(tmp_path, calls_in_flight=16) as served, AsyncExitStack() as stack:
        stall = Stall(served.store)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(served.target))
        greedy = [PipelineCaller(CheckpointServiceStub(channel).Pipeline()) for _ in range(2)]
        for index, caller in enumerate(greedy):
            await caller.send(*(save(number, workflow_id=f"w{index}{number}") for number in range(1, 9)))
        await stall.stays_at(8)
        modest = await stack.enter_async_context(pipeline(served.target))
        await modest.send(*(save(number, workflow_id=f"m{number}") for number in range(1, 9)))
        await stall.stays_at(16)
        # Beyond the limit of the server a call is refused, as a unary call is.
        extra = await stack.enter_async_context(pipeline(served.target))
        await extra.send(save(1))
        assert reason(await extra.answer(1)) == "OVERLOADED"
        stall.go.set()
        for caller in (*greedy, modest):
            await caller.answers(*range(1, 9))


async def test_pipelines_of_one_connection_take_turns(tmp_path):
    async with serving_watched(tmp_path, calls_in_flight=4) as served, AsyncExitStack() as stack:
        stall = Stall(served.store)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(served.target))
        greedy, modest = (PipelineCaller(CheckpointServiceStub(channel).Pipeline()) for _ in range(2))
        for first in range(1, 41, 2):
            await greedy.send(*(save(number, workflow_id=f"w{number}") for number in (first, first + 1)))
        await stall.stays_at(2)
        await modest.send(save(1, workflow_id="m"))
        stall.go.set()
        await modest.answer(1)
        assert len(greedy.messages) == 0
        await greedy.answers(*range(1, 41))


async def test_too_many_pipelines_of_one_connection_are_refused(tmp_path):
    async with serving_watched(tmp_path, calls_in_flight=16) as served, AsyncExitStack() as stack:
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(served.target))
        stub = CheckpointServiceStub(channel)
        opened = [PipelineCaller(stub.Pipeline()) for _ in range(2)]
        for each in opened:
            await each.limits()
        details = await refusal(read_all(stub.Pipeline()))
        assert details[error_details_pb2.ErrorInfo].reason == "OVERLOADED"
        other = await stack.enter_async_context(pipeline(served.target))
        await other.limits()
        await opened[0].end()
        await PipelineCaller(stub.Pipeline()).limits()


async def test_a_caller_that_reads_no_answers_stops_only_itself_and_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.5)
    async with (
        serving_watched(tmp_path, calls_in_flight=64) as served,
        pipeline(served.target) as slow,
        pipeline(served.target) as other,
    ):
        await other.send(save(1, 1 << 20))
        await other.answer(1)
        # gRPC reads ahead about 4 MiB of 32; beyond that the answers wait in the server.
        await slow.send(*(load(number) for number in range(1, 33)))
        for number in range(2, 7):
            await asyncio.sleep(0.1)
            await other.send(save(number))
            assert (await other.answer(number)).save.checkpoint.revision == number
        await asyncio.sleep(0.5)
        details = await refusal(read_all(slow.stream))
        assert details[error_details_pb2.ErrorInfo].reason == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("way", ["cancel", "close"])
async def test_the_calls_of_a_caller_that_leaves_are_cancelled(served, way):
    stall = Stall(served.store)
    async with pipeline(served.target) as leaving:
        await leaving.send(save(1), save(2, workflow_id="v"))
        await stall.reaches(waiting=2)
        if way == "cancel":
            leaving.stream.cancel()
    await stall.reaches(cancelled=2)


async def test_the_calls_of_a_caller_that_has_vanished_from_the_network_are_cancelled(tmp_path):
    async with (
        serving_watched(tmp_path, keepalive_seconds=1) as served,
        CuttingProxy(served.target).running() as proxy,
        pipeline(f"127.0.0.1:{proxy.port}") as vanishing,
    ):
        stall = Stall(served.store)
        await vanishing.send(save(1), save(2, workflow_id="v"))
        await stall.reaches(waiting=2)
        proxy.speaks.clear()
        await stall.reaches(cancelled=2)
        vanishing.stream.cancel()
        proxy.speaks.set()


async def test_a_caller_that_closes_its_side_gets_all_answers(served, piped):
    stall = Stall(served.store)
    await piped.send(save(1), save(2, workflow_id="v"))
    await piped.stream.done_writing()
    await stall.reaches(waiting=2)
    stall.go.set()
    await piped.answers(1, 2)
    assert await piped.ended() is grpc.StatusCode.OK


async def test_a_pipeline_that_is_too_old_says_so_serves_late_calls_and_ends(tmp_path):
    async with serving_watched(tmp_path, pipeline_age_seconds=1) as served, pipeline(served.target) as piped:
        stated = await piped.limits()
        assert 0.9 <= stated.age.seconds + stated.age.nanos / 1e9 <= 1.1
        assert (await piped.going_away()).grace.seconds == 30
        await piped.send(save(1))
        assert (await piped.answer(1)).save.checkpoint.revision == 1
        assert await piped.end() is grpc.StatusCode.OK


async def test_a_pipeline_whose_going_away_is_ignored_ends_with_its_last_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "PIPELINE_GRACE_SECONDS", 0.2)
    async with serving_watched(tmp_path, pipeline_age_seconds=1) as served, pipeline(served.target) as piped:
        stall = Stall(served.store)
        await piped.going_away()
        await piped.send(save(1))
        await stall.reaches(waiting=1)
        await asyncio.sleep(0.3)
        # Too late: the server does not read it. Its caller sends it again on another pipeline.
        with suppress(asyncio.InvalidStateError):
            await piped.send(save(2))
        stall.go.set()
        assert (await piped.answer(1)).save.checkpoint.revision == 1
        assert await piped.ended() is grpc.StatusCode.OK


async def test_an_idle_pipeline_is_ended_and_one_with_a_call_is_not(served, monkeypatch):
    monkeypatch.setattr(limits, "PIPELINE_IDLE_SECONDS", 0.3)
    stall = Stall(served.store)
    async with pipeline(served.target) as idle, pipeline(served.target) as busy:
        await busy.send(save(1))
        await stall.reaches(waiting=1)
        assert (await idle.going_away()).HasField("grace")
        assert await idle.end() is grpc.StatusCode.OK
        await asyncio.sleep(0.3)
        stall.go.set()
        await busy.answer(1)
        assert not any(message.HasField("going_away") for message in busy.messages)
        await busy.going_away()


async def test_a_drain_says_so_first_refuses_late_calls_and_lets_calls_in_flight_end(tmp_path):
    ending = asyncio.Event()
    serving = asyncio.Event()
    target = []

    async def serve():
        async with serving_watched(tmp_path) as served:
            target.append(served)
            serving.set()
            await ending.wait()

    server = asyncio.create_task(serve())
    await serving.wait()
    stall = Stall(target[0].store)
    async with pipeline(target[0].target) as piped, pipeline(target[0].target) as idle:
        await piped.send(save(1))
        await idle.limits()
        await stall.reaches(waiting=1)
        ending.set()
        assert not (await piped.going_away()).HasField("grace")
        assert not piped.messages[-1].answers
        await piped.send(save(2))
        assert reason(await piped.answer(2)) == "SHUTTING_DOWN"
        stall.go.set()
        assert (await piped.answer(1)).save.checkpoint.revision == 1
        assert await piped.end() is grpc.StatusCode.OK
        await idle.going_away()
        # Without a reaction of its caller, it ends all the same.
        assert await idle.ended() is grpc.StatusCode.OK
    await server


async def test_a_call_that_outlasts_the_drain_is_answered(tmp_path):
    ending, serving, target = asyncio.Event(), asyncio.Event(), []

    async def serve():
        async with serving_watched(tmp_path) as served:
            target.append(served)
            serving.set()
            await ending.wait()

    server = asyncio.create_task(serve())
    await serving.wait()
    stall = Stall(target[0].store)
    async with pipeline(target[0].target) as piped:
        await piped.send(save(1))
        await stall.reaches(waiting=1)
        ending.set()
        assert reason(await piped.answer(1)) in ("SHUTTING_DOWN", "COMMIT_UNKNOWN")
        assert await piped.ended() is grpc.StatusCode.OK
    await server
