"""The state of pipelines without I/O: limits, order, and one outcome for each call, whatever happens."""

from itertools import count

import grpc
from google.protobuf.message import Message
from holdfast._core.pipeline import Pipeline, PipelinesOfConnection
from holdfast._core.pipeline_calls import METHODS, Call, CallError, is_carried
from holdfast.v1 import checkpoint_service_pb2 as api
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = st.one_of(st.integers(0, 300), st.integers(0, 256 << 10))
ACTIONS = st.one_of(
    st.tuples(st.just("add"), st.tuples(SIZES, st.sampled_from(["old", "old", "old", "new", ""]))),
    st.tuples(st.just("send"), st.none()),
    st.tuples(st.just("answer"), st.integers(0, 100)),
    st.tuples(st.just("fail"), st.integers(0, 100)),
    st.tuples(st.just("forget"), st.integers(0, 100)),
    st.tuples(st.just("expire"), st.integers(0, 100)),
    st.tuples(st.just("limit"), st.tuples(st.integers(-1, 20), st.integers(-1, 1 << 20))),
    st.tuples(st.just("go away"), st.none()),
    st.tuples(st.just("break"), st.sampled_from([None, *grpc.StatusCode])),
    st.tuples(st.just("idle"), st.none()),
)
MESSAGE = 512 << 10


class Connection(PipelinesOfConnection):
    """Pipelines whose messages a test takes."""

    def __init__(self):
        super().__init__()
        self.started = []

    def start(self, pipeline):
        self.started.append(pipeline)


class Caller:
    """A call and how often its outcome came."""

    def __init__(self, number, size, token=""):
        self.number = number
        self.outcomes = 0
        self.forgotten = False
        request = api.PruneRequest(workflow_id=f"{number}", request_id="x" * size)
        self.credentials = (("authorization", f"Bearer {token}"),) if token else ()
        metadata = (("traceparent", "t"), *self.credentials)
        self.call = Call("Prune", request.SerializeToString(), 30.0, metadata, self.wake)

    def wake(self):
        self.outcomes += 1


def chosen(sequence, index):
    return sequence[index % len(sequence)] if sequence else None


@settings(max_examples=150)
@given(st.lists(ACTIONS, max_size=60))
def test_each_call_has_one_outcome_and_limits_order_and_tokens_are_kept(actions):
    connection = Connection()
    callers, open_calls = [], {}
    sent = []
    limits = {}

    def send(pipeline):
        message = pipeline.message()
        if not message:
            return
        request = api.PipelineRequest.FromString(message)
        assert request.calls or request.cancelled_call_ids
        for call in request.calls:
            sent.append(int(call.prune.workflow_id))
            assert pipeline.credentials == callers[sent[-1]].credentials
            assert call.call_id not in open_calls
            open_calls[call.call_id] = (pipeline, callers[sent[-1]])
        mine = [caller.call.size for owner, caller in open_calls.values() if owner is pipeline]
        most_calls, most_bytes = limits.get(pipeline, (8, 1 << 20))
        if request.calls and len(mine) > 1:
            assert len(mine) <= most_calls
            assert sum(mine) <= most_bytes
        assert len(message) <= MESSAGE + 300 * len(request.calls) or len(request.calls) == 1

    for action, value in actions:
        if action == "add":
            callers.append(Caller(len(callers), *value))
            connection.add(callers[-1].call)
        elif action == "forget" and (caller := chosen(callers, value)) and not caller.call.is_done:
            caller.forgotten = True
            connection.forget(caller.call)
        elif action == "expire" and (caller := chosen(callers, value)):
            caller.call.expire()
        if not connection.started:
            continue
        pipeline = connection.started[-1]
        if action == "send":
            for each in connection.started:
                send(each)
        elif action in ("answer", "fail") and (call_id := chosen(list(open_calls), value)):
            owner, caller = open_calls.pop(call_id)
            answer = api.PipelineAnswer(call_id=call_id, prune=api.PruneResponse(deleted=caller.number))
            if action == "fail":
                answer = api.PipelineAnswer(call_id=call_id, status=b"\xff")
            connection.received(owner, api.PipelineResponse(answers=[answer, answer]))
        elif action == "limit":
            limits[pipeline] = tuple(max(each, 1) for each in value)
            stated = api.PipelineLimits(calls=value[0], bytes=value[1])
            connection.received(pipeline, api.PipelineResponse(limits=stated))
            # What is in flight already may be more than a later limit.
            if any(owner is pipeline for owner, _ in open_calls.values()):
                limits[pipeline] = (1 << 30, 1 << 60)
        elif action == "go away":
            connection.received(pipeline, api.PipelineResponse(going_away=api.PipelineGoingAway()))
        elif action == "break":
            pipeline.has_sent = True
            connection.ended(pipeline, None if value is None else CallError(value, "broken"))
            open_calls = {key: each for key, each in open_calls.items() if each[0] is not pipeline}
        elif action == "idle":
            connection.check_idle(pipeline)
            connection.check_first_answer(pipeline)
    for pipeline in list(connection.started):
        connection.ended(pipeline, CallError(grpc.StatusCode.UNAVAILABLE, "the end"))
    # Ending a pipeline moves nothing to another one, so no call is left.
    assert all(caller.outcomes == (0 if caller.forgotten else 1) for caller in callers)
    assert len(sent) == len(set(sent))
    first_sent = [number for number in sent if not callers[number].call.is_refused]
    assert first_sent == sorted(first_sent)


@given(st.sampled_from(sorted(METHODS)), st.binary(max_size=300), st.floats(0.001, 1e7))
def test_a_call_is_encoded_as_protobuf_encodes_it(method, padding, seconds):
    request_type = getattr(api, f"{method}Request")
    # Bytes of an unknown field pass through any message.
    unknown = b"\xfa\x3e" + bytes([len(padding) & 0x7F]) + padding[: len(padding) & 0x7F]
    request: Message = request_type.FromString(unknown)
    call = Call(method, request.SerializeToString(), seconds, (("traceparent", "a"), ("tracestate", "b")), lambda: None)
    (decoded,) = api.PipelineRequest.FromString(call.encoded(7)).calls
    assert (decoded.call_id, decoded.traceparent, decoded.tracestate) == (7, "a", "b")
    assert getattr(decoded, decoded.WhichOneof("request")) == request
    assert type(getattr(decoded, decoded.WhichOneof("request"))) is request_type
    assert abs(decoded.timeout.seconds + decoded.timeout.nanos / 1e9 - seconds) < 1


def test_a_call_does_not_join_a_pipeline_of_another_token_that_unsent_calls_open():
    connection = Connection()
    first, waiting, late = Caller(0, 10, "old"), Caller(1, 10, "old"), Caller(2, 10, "new")
    connection.add(first.call)
    (old,) = connection.started
    assert old.message()
    connection.add(waiting.call)
    connection.add(late.call)
    assert [pipeline.credentials for pipeline in connection.started] == [first.credentials, late.credentials]
    (call,) = api.PipelineRequest.FromString(connection.started[1].message()).calls
    assert call.prune.workflow_id == "2"
    assert waiting.call.is_refused
    assert not first.call.is_done


def test_a_pipeline_that_has_room_for_nothing_sends_one_call_after_the_other():
    pipeline = Pipeline(count(1))
    pipeline.received(api.PipelineResponse(limits=api.PipelineLimits(calls=0, bytes=0)))
    callers = [Caller(number, 10) for number in range(3)]
    for caller in callers:
        pipeline.add(caller.call)
    for expected in range(3):
        (call,) = api.PipelineRequest.FromString(pipeline.message()).calls
        assert call.prune.workflow_id == str(expected)
        assert pipeline.message() == b""
        answer = api.PipelineAnswer(call_id=call.call_id, prune=api.PruneResponse())
        pipeline.received(api.PipelineResponse(answers=[answer]))


def test_only_metadata_that_a_call_can_hold_is_carried():
    assert is_carried((("traceparent", "a"), ("tracestate", "b")))
    assert is_carried((("traceparent", "a"), ("authorization", "the token of the pipeline")))
    assert not is_carried((("traceparent", "a"), ("x-other", "b")))
