"""Messages of pipelines, taken apart and put together like the protobuf library does it."""

import asyncio
from contextlib import suppress

import pytest
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.api import limits
from holdfast_server.api.errors import InvalidRequestError
from holdfast_server.api.grpc_methods import GrpcContext
from holdfast_server.api.pipeline.answers import STATUS, Answer, Answers
from holdfast_server.api.pipeline.received import METHODS, parse, take_apart
from holdfast_server.api.wire import WireError, encoded_varint, fields, prefix, varint
from hypothesis import given
from hypothesis import strategies as st

from tests.support.context import Context

ids = st.integers(1, (1 << 63) - 1)
numbers = st.integers(0, (1 << 64) - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
loads = st.builds(api.LoadRequest, namespace=texts, workflow_id=texts)
calls = st.builds(
    api.PipelineCall, call_id=ids, traceparent=texts, tracestate=texts, previous_attempts=st.integers(-5, 5), load=loads
)
requests = st.builds(
    api.PipelineRequest,
    calls=st.lists(calls, max_size=8),
    cancelled_call_ids=st.lists(st.integers(-5, 1 << 62), max_size=8),
)
outcomes = st.tuples(
    ids, st.sampled_from([STATUS, *(each.number for each in METHODS)]), st.sampled_from([b"", b"\x0a\x00"])
)


@given(numbers)
def test_a_number_is_read_back(number):
    encoded = encoded_varint(number)
    assert varint(memoryview(encoded + b"\xff"), 0) == (number, len(encoded))


@given(
    st.lists(st.tuples(st.integers(1, 1000), st.one_of(numbers, st.binary(max_size=9))), max_size=9), st.integers(1, 9)
)
def test_fields_are_read_up_to_the_first_error(given_fields, cut):
    raw = b"".join(
        prefix(number, len(value)) + value
        if isinstance(value, bytes)
        else encoded_varint(number << 3) + encoded_varint(value)
        for number, value in given_fields
    )
    assert list(fields(memoryview(raw))) == given_fields
    found = []
    with suppress(WireError):
        for each in fields(memoryview(raw[:-cut])):
            found.append(each)
    assert found == given_fields[: len(found)]
    assert len(found) < max(1, len(given_fields))


@given(requests)
def test_a_message_is_taken_apart_into_its_calls_and_cancellations(request):
    raw = request.SerializeToString()
    if not raw:
        return
    taken, cancelled = take_apart(raw)
    assert [api.PipelineCall.FromString(bytes(each)) for each in taken] == list(request.calls)
    assert cancelled == [each % (1 << 64) for each in request.cancelled_call_ids]


@given(st.binary(max_size=60))
def test_any_bytes_are_calls_with_an_id_or_refused(raw):
    async def parsed():
        return [parse(each, GrpcContext(Context())) for each in take_apart(raw)[0]]

    with suppress(InvalidRequestError):
        assert all(1 <= each.call_id < 1 << 63 for each in asyncio.run(parsed()))


@given(calls)
def test_a_call_keeps_its_metadata(call):
    async def check():
        parsed = parse(
            memoryview(call.SerializeToString()), GrpcContext(Context((("traceparent", "of the stream"), ("x", "y"))))
        )
        headers = dict(parsed.context.headers)
        assert headers["x"] == "y"
        assert headers["traceparent"] == (call.traceparent or "of the stream")
        assert headers.get("grpc-previous-rpc-attempts", "0") == str(max(0, call.previous_attempts))
        assert parsed.request == call.load
        assert parsed.context.time_remaining() is None

    asyncio.run(check())


@pytest.mark.parametrize("which", ["calls", "cancelled_call_ids"])
def test_a_message_holds_a_limited_number(which):
    def message(count):
        if which == "calls":
            return api.PipelineRequest(calls=[api.PipelineCall(call_id=1)] * count)
        return api.PipelineRequest(cancelled_call_ids=[1] * count)

    take_apart(message(1000).SerializeToString())
    with pytest.raises(InvalidRequestError, match=f"{which}: expected at most 1000"):
        take_apart(message(1001).SerializeToString())


class Stream:
    """A stream that accepts a message each time that `accepts` is released."""

    def __init__(self) -> None:
        self.messages: list[api.PipelineResponse] = []
        self.size_bytes = 0
        self.accepts = asyncio.Semaphore(0)

    async def write(self, message: bytes) -> None:
        await self.accepts.acquire()
        self.size_bytes += len(message)
        self.messages.append(api.PipelineResponse.FromString(message))


@given(st.lists(outcomes, max_size=12))
def test_answers_are_sent_in_order_with_their_outcomes(given_answers):
    async def check():
        stream, sent = Stream(), []
        answers = Answers(lambda count, size_bytes: sent.append((count, size_bytes)))
        expected = []
        for call_id, number, body in given_answers:
            answer = Answer.of(call_id, number, body)
            answers.add(answer)
            expected.append(answer)
        answers.finish()
        stream.accepts.release()
        await answers.send_to(stream)
        found = [answer for message in stream.messages for answer in message.answers]
        assert [each.call_id for each in found] == [call_id for call_id, _, _ in given_answers]
        for each, (_, number, body) in zip(found, given_answers, strict=True):
            assert each.WhichOneof("outcome") == api.PipelineAnswer.DESCRIPTOR.fields_by_number[number].name
            if number == STATUS:
                assert each.status == body
        assert sum(count for count, _ in sent) == len(expected)
        total = sum(each.size_bytes for each in expected)
        assert sum(size for _, size in sent) == stream.size_bytes == total

    asyncio.run(check())


async def test_answers_that_come_while_a_message_is_on_its_way_share_the_next_one():
    stream = Stream()
    answers = Answers(lambda count, size_bytes: None)
    sending = asyncio.create_task(answers.send_to(stream))
    answers.announce(api.PipelineResponse(limits=api.PipelineLimits(calls=1)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for number in range(1, 6):
        answers.add(Answer.of(number, STATUS, b"x" * 300_000))
    answers.announce(api.PipelineResponse(going_away=api.PipelineGoingAway()))
    answers.finish()
    for _ in range(3):
        stream.accepts.release()
    await sending
    first, second, third = stream.messages
    assert first.limits.calls == 1
    assert not first.answers
    assert second.HasField("going_away")
    assert [[each.call_id for each in message.answers] for message in (second, third)] == [[1, 2, 3], [4, 5]]


async def test_a_message_holds_one_group_of_answers_so_that_its_caller_can_go_on():
    stream = Stream()
    answers = Answers(lambda count, size_bytes: None)
    for number in range(1, 2 * limits.GROUPED_CALLS + 2):
        answers.add(Answer.of(number, STATUS, b""))
    answers.finish()
    for _ in range(3):
        stream.accepts.release()
    await answers.send_to(stream)
    assert [len(message.answers) for message in stream.messages] == [limits.GROUPED_CALLS, limits.GROUPED_CALLS, 1]
