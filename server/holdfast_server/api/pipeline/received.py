"""The messages of a caller, taken apart into calls before any of them is parsed: a malformed call fails alone."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import limits
from holdfast_server.api.call import PREVIOUS_ATTEMPTS_KEY
from holdfast_server.api.call_context import StreamContext
from holdfast_server.api.errors import InvalidRequestError
from holdfast_server.api.malformed import Malformed, explain, parser
from holdfast_server.api.wire import WireError, fields, varint
from holdfast_server.protocol.errors import HoldfastError, Reason

_CALLS = api.PipelineRequest.CALLS_FIELD_NUMBER
_CANCELLED = api.PipelineRequest.CANCELLED_CALL_IDS_FIELD_NUMBER
_CALL_ID = api.PipelineCall.CALL_ID_FIELD_NUMBER
# Fields of a later version of the API, which are skipped.
_MAX_UNKNOWN_FIELDS = 100


@dataclass(frozen=True, slots=True)
class Method:
    """A unary method in a pipeline.

    Attributes:
        name: its name in the service.
        number: the field number of its request in a call and of its response in an answer.
        request_type: the type of its request.

    """

    name: str
    number: int
    request_type: Descriptor


def _methods() -> Iterable[Method]:
    names = {each.input_type.name: each.name for each in api.DESCRIPTOR.services_by_name["CheckpointService"].methods}
    for field in api.PipelineCall.DESCRIPTOR.oneofs_by_name["request"].fields:
        request_type = field.message_type
        assert request_type is not None
        yield Method(names[request_type.name], field.number, request_type)


METHODS = tuple(_methods())
_BY_NUMBER = {each.number: each for each in METHODS}
_BY_FIELD = {api.PipelineCall.DESCRIPTOR.fields_by_number[each.number].name: each for each in METHODS}


class PipelinedContext:
    """A call of a pipeline, as the service sees it.

    Args:
        stream: the stream of the pipeline.
        headers: the metadata of the call.
        timeout_seconds: the time that the call has from now on; None if it sets no deadline.

    """

    __slots__ = ("_deadline", "certificate", "headers", "peer")

    def __init__(self, stream: StreamContext, headers: Mapping[str, str], timeout_seconds: float | None) -> None:
        self.peer = stream.peer
        self.certificate = stream.certificate
        self.headers = headers
        self._deadline = None if timeout_seconds is None else asyncio.get_running_loop().time() + timeout_seconds

    def time_remaining(self) -> float | None:
        return None if self._deadline is None else self._deadline - asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class ReceivedCall:
    """A call that a message brought.

    Attributes:
        call_id: its id in the pipeline.
        method: the method, or the reason why the call has none.
        request: its request, or `Malformed` in place of bytes that are not one.
        context: its context.
        size_bytes: how much of the message it took.

    """

    call_id: int
    method: Method | HoldfastError
    request: object
    context: PipelinedContext
    size_bytes: int


def take_apart(raw: bytes) -> tuple[list[memoryview], list[int]]:
    """Take a message apart. Return its calls as bytes, and the ids of the calls that it cancels.

    Args:
        raw: a PipelineRequest.

    Raises:
        InvalidRequestError: the bytes are not a PipelineRequest, are empty, or hold too much.

    """
    if not raw:
        raise InvalidRequestError("message", "must not be empty")
    calls: list[memoryview] = []
    cancelled: list[int] = []
    unknown = 0
    try:
        for number, value in fields(memoryview(raw)):
            if number == _CALLS and isinstance(value, memoryview):
                calls.append(value)
                _require_few("calls", len(calls), limits.MAX_PIPELINED)
            elif number == _CANCELLED:
                cancelled += _numbers(value, limits.MAX_PIPELINED + 1) if isinstance(value, memoryview) else [value]
                _require_few("cancelled_call_ids", len(cancelled), limits.MAX_PIPELINED)
            else:
                unknown += 1
                _require_few("message", unknown, _MAX_UNKNOWN_FIELDS)
    except WireError:
        raise InvalidRequestError("message", "cannot be parsed as PipelineRequest") from None
    return calls, cancelled


def _require_few(field: str, count: int, most: int) -> None:
    if count > most:
        raise InvalidRequestError(field, f"expected at most {most} in one message, got more")


def _numbers(packed: memoryview, at_most: int) -> list[int]:
    """Return the first numbers of a packed field."""
    found: list[int] = []
    position = 0
    while position < len(packed) and len(found) < at_most:
        number, position = varint(packed, position)
        found.append(number)
    return found


def parse(raw: memoryview, stream: StreamContext) -> ReceivedCall:
    """Parse a call of a message.

    Args:
        raw: a PipelineCall.
        stream: the stream of the pipeline, whose metadata count for each of its calls.

    Raises:
        InvalidRequestError: the call has no id by which it could be answered.

    """
    try:
        # It accepts any buffer, which its type does not say.
        call = api.PipelineCall.FromString(cast("bytes", raw))
    except DecodeError:
        return _parse_malformed(raw, stream)
    _require_id(call.call_id)
    field = call.WhichOneof("request")
    method = _absent_method(call) if field is None else _BY_FIELD[field]
    request = None if field is None else getattr(call, field)
    timeout_seconds = call.timeout.seconds + call.timeout.nanos / 1e9 if call.HasField("timeout") else None
    headers = stream.headers
    if call.traceparent:
        headers = {**headers, "traceparent": call.traceparent, "tracestate": call.tracestate}
    if call.previous_attempts > 0:
        headers = {**headers, PREVIOUS_ATTEMPTS_KEY: str(call.previous_attempts)}
    return ReceivedCall(call.call_id, method, request, PipelinedContext(stream, headers, timeout_seconds), len(raw))


def _parse_malformed(raw: memoryview, stream: StreamContext) -> ReceivedCall:
    """Return a call that cannot be parsed, with the explanation in place of its request."""
    call_id = 0
    method: Method | None = None
    request = raw[:0]
    try:
        for number, value in fields(raw):
            if number == _CALL_ID and isinstance(value, int):
                call_id = value
            elif number in _BY_NUMBER and isinstance(value, memoryview):
                method, request = _BY_NUMBER[number], value
    except WireError:
        pass
    _require_id(call_id)
    malformed = parser(method.request_type)(bytes(request)) if method is not None else None
    if not isinstance(malformed, Malformed):
        malformed = Malformed(*explain(bytes(raw), api.PipelineCall.DESCRIPTOR))
    refused = method or InvalidRequestError(malformed.field, malformed.problem)
    return ReceivedCall(call_id, refused, malformed, PipelinedContext(stream, stream.headers, None), len(raw))


def _require_id(call_id: int) -> None:
    if not 1 <= call_id < 1 << 63:
        raise InvalidRequestError("calls.call_id", f"expected 1 or more, got {call_id}")


def _absent_method(call: api.PipelineCall) -> HoldfastError:
    """Return why a call has no request that this server knows."""
    unknown = UnknownFieldSet(call)
    if len(unknown):
        number = unknown[0].field_number
        return HoldfastError(
            Reason.UNIMPLEMENTED, f"this server knows no call with field number {number}", number=number
        )
    return InvalidRequestError("request", "must not be empty")
