"""Errors on the wire: a google.rpc.Status whose details hold the reason, the request id and the trace id.

The status code of each reason comes from the table in `proto/holdfast/v1/errors.proto`.
"""

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from holdfast.v1 import errors_pb2

from holdfast_server.protocol.errors import HoldfastError, Reason

DOMAIN = "holdfast.dev"
RETRY_AFTER_SECONDS = 0.5

_CODES = {code.value[0]: code for code in grpc.StatusCode}
# gRPC replaces a status above 8 KiB, escapes included, by another one.
_MAX_TEXT_BYTES = 512
_MAX_ID_BYTES = 128


class InvalidRequestError(HoldfastError):
    """A field of a request is not allowed.

    Args:
        field: the path of the field.
        problem: what is wrong, and what was expected.
        reason: INVALID_REQUEST, or PAYLOAD_TOO_LARGE.

    """

    def __init__(self, field: str, problem: str, reason: Reason = Reason.INVALID_REQUEST) -> None:
        super().__init__(reason, f"{field}: {problem}", field=field)


class CallFailedError(Exception):
    """A call has ended with a status, which its transport sends to the caller.

    Attributes:
        code: the status code.
        status: code, message and details.

    """

    def __init__(self, code: grpc.StatusCode, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.code = code
        self.status = status


def code_of(reason: Reason) -> grpc.StatusCode:
    """Return the status code of a reason."""
    value = errors_pb2.ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"]
    return _CODES[value.GetOptions().Extensions[errors_pb2.traits].code]


def to_status(error: HoldfastError, request_id: str, trace_id: str) -> status_pb2.Status:
    """Return an error as a status with its details."""
    metadata = {name: _cut(value) for name, value in error.metadata.items()}
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata),
        error_details_pb2.RequestInfo(request_id=_cut(request_id, _MAX_ID_BYTES), serving_data=trace_id),
    ]
    if error.reason in (Reason.INVALID_REQUEST, Reason.PAYLOAD_TOO_LARGE):
        field = error.metadata["field"]
        problem = error.message.removeprefix(f"{field}: ")
        details.append(
            error_details_pb2.BadRequest(field_violations=[{"field": _cut(field), "description": _cut(problem)}])
        )
    retry_after = _retry_after_seconds(error)
    if retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(int(retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(
        code=code_of(error.reason).value[0],
        message=_cut(error.message),
        details=[_packed(detail) for detail in details],
    )


def _retry_after_seconds(error: HoldfastError) -> float | None:
    """Return how long the caller should wait; None if waiting does not help or is the caller's own choice."""
    if error.reason is Reason.OVERLOADED:
        return float(error.metadata.get("retry_after_seconds", RETRY_AFTER_SECONDS))
    return float(error.metadata["retry_after_seconds"]) if error.reason is Reason.LEASE_HELD else None


def _cut(text: str, limit_bytes: int = _MAX_TEXT_BYTES) -> str:
    return text.encode(errors="replace")[:limit_bytes].decode(errors="ignore")


def _packed(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed
