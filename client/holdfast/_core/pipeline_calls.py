"""Calls of a pipeline: their bytes in a message, their answers, and errors like those of unary calls.

A request is serialized once, by its caller, so that one that cannot be serialized fails alone. Its bytes become a field
of `PipelineCall` without a copy of the message: a field of a protobuf message is its tag, its length and its bytes.
"""

import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from holdfast._core.errors import of_reason
from holdfast._core.statuses import DETAILS_KEY
from holdfast._core.tokens import HEADER, Metadata
from holdfast.v1 import checkpoint_service_pb2 as api

METHOD = "/holdfast.v1.CheckpointService/Pipeline"
_LENGTH_DELIMITED = 2


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_CALLS_TAG = _varint(api.PipelineRequest.CALLS_FIELD_NUMBER << 3 | _LENGTH_DELIMITED)
# The field of each method's request, which is also that of its response, and its tag.
_FIELDS = {
    field.message_type.name.removesuffix("Request"): (field.name, _varint(field.number << 3 | _LENGTH_DELIMITED))
    for field in api.PipelineCall.DESCRIPTOR.oneofs_by_name["request"].fields
    if field.message_type is not None
}
# The methods that a pipeline can carry.
METHODS = frozenset(_FIELDS)
# Metadata of a call that a pipeline can carry.
_CARRIED = frozenset({"traceparent", "tracestate", HEADER})
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class CallError(grpc.RpcError):
    """The failure of a call in a pipeline, with the interface of a failed unary call."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailing_metadata: tuple[tuple[str, Any], ...] = ()
    ) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code = code
        self._details = details
        self._trailing_metadata = trailing_metadata

    def code(self) -> grpc.StatusCode:
        """Return the status code."""
        return self._code

    def details(self) -> str:
        """Return the status message."""
        return self._details

    def trailing_metadata(self) -> Any:
        """Return the trailing metadata, which contain the details of a server of Holdfast."""
        return self._trailing_metadata


class Call:
    """One call, from its caller's request to its outcome.

    Args:
        method: the method's name in the service.
        data: the serialized request.
        timeout: seconds from now.
        metadata: the metadata of the call.
        wake: called once, when the outcome is known.

    Attributes:
        call_id: its id in the pipeline; 0 before it was sent.
        credentials: what of its metadata the pipeline must have.
        size: the bytes of its request.
        is_done: whether the outcome is known, or the caller no longer waits for it.
        is_refused: whether the server has not started it and takes no pipelines: it must be sent as a unary call.

    """

    __slots__ = (
        "_data",
        "_deadline",
        "_error",
        "_metadata",
        "_method",
        "_response",
        "_wake",
        "call_id",
        "credentials",
        "is_done",
        "is_refused",
        "size",
    )

    def __init__(
        self, method: str, data: bytes, timeout: float, metadata: Metadata, wake: Callable[[], object]
    ) -> None:
        self._method = method
        self._data = data
        self._deadline = time.monotonic() + timeout
        self._metadata = metadata
        self._wake = wake
        self._response: Any = None
        self._error: Exception | None = None
        self.call_id = 0
        self.credentials = tuple(each for each in metadata if each[0] == HEADER)
        self.size = len(data)
        self.is_done = False
        self.is_refused = False

    def seconds_left(self) -> float:
        """Return the time until its deadline."""
        return max(self._deadline - time.monotonic(), 0.001)

    def encoded(self, call_id: int) -> bytes:
        """Return its bytes in a `PipelineRequest` and forget the request."""
        self.call_id = call_id
        seconds, fraction = divmod(self.seconds_left(), 1)
        timeout = Duration(seconds=int(seconds), nanos=int(fraction * 1e9))
        metadata = dict(self._metadata)
        head = api.PipelineCall(
            call_id=call_id,
            timeout=timeout,
            traceparent=metadata.get("traceparent", ""),
            tracestate=metadata.get("tracestate", ""),
        ).SerializeToString()
        field = _FIELDS[self._method][1] + _varint(self.size)
        data, self._data = self._data, b""
        return b"".join((_CALLS_TAG, _varint(len(head) + len(field) + len(data)), head, field, data))

    def answer(self, answer: api.PipelineAnswer) -> None:
        """Take the server's answer as the outcome."""
        outcome = answer.WhichOneof("outcome")
        if outcome == _FIELDS[self._method][0]:
            self._finish(getattr(answer, outcome), None)
        elif outcome == "status":
            self._finish(None, _failure(answer.status))
        else:
            self.fail(of_reason("INTERNAL", f"the server sent the answer of another call than {self._method}"))

    def fail(self, error: Exception) -> None:
        """Take an error as the outcome."""
        self._finish(None, error)

    def expire(self) -> None:
        """Take as the outcome that the deadline passed, in gRPC's words. The server ends the call by itself."""
        self._finish(None, CallError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))

    def refuse(self) -> None:
        """Let the caller send it as a unary call."""
        self.is_refused = True
        self._finish(None, None)

    def result(self) -> Any:
        """Return the response.

        Raises:
            CallError: the call failed.
            InternalError: the server sent the answer of another call.

        """
        if self._error is not None:
            raise self._error
        return self._response

    def _finish(self, response: Any, error: Exception | None) -> None:
        if not self.is_done:
            self.is_done = True
            self._response, self._error = response, error
            self._wake()


def is_carried(metadata: Metadata) -> bool:
    """Return whether a pipeline can carry the metadata of a call."""
    return all(key in _CARRIED for key, _ in metadata)


def cancellations(call_ids: list[int]) -> bytes:
    """Return the bytes of cancellations in a `PipelineRequest`."""
    return api.PipelineRequest(cancelled_call_ids=call_ids).SerializeToString()


def _failure(raw: bytes) -> CallError:
    """Return the error of a status, in the form that a unary call would have."""
    try:
        status = status_pb2.Status.FromString(raw)
    except DecodeError:
        status = status_pb2.Status(message="the status of the call cannot be parsed")
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return CallError(code, status.message, ((DETAILS_KEY, raw),))
