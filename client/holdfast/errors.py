"""Typed errors: a failed call's google.rpc details as an exception, one class for each reason.

Status code, whether to retry and what to do come from the table in `proto/holdfast/v1/errors.proto`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from holdfast.v1 import errors_pb2

_DOMAIN = "holdfast.dev"
_DETAILS_KEY = "grpc-status-details-bin"
# What grpc.aio makes of a message that it cannot send any more, where it learns of the broken connection only later.
_SEND_FAILED = "Internal error from Core"
# A caller who cancels gets no status: one without details comes from a server that ends, or from a proxy.
_BROKEN_OFF = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_MILLISECONDS = re.compile(r"[0-9]{1,9}")


class HoldfastError(Exception):
    """A call failed.

    Attributes:
        reason: why, such as "CHECKPOINT_NOT_FOUND".
        code: the gRPC status code.
        trace_id: the call's trace, 32 hex digits.
        request_id: the idempotency key, or "".
        metadata: the ids and values that the message shows.
        advice: what to do about it.
        retryable: whether the same request may succeed when it is sent again.
        field_violations: pairs of a field and what is wrong with it.
        retry_after_seconds: how long the server asks to wait; None where it does not say.

    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "INTERNAL",
        code: grpc.StatusCode = grpc.StatusCode.INTERNAL,
        trace_id: str = "",
        request_id: str = "",
        metadata: Mapping[str, str] | None = None,
        retryable: bool = False,
        advice: str = "",
        field_violations: Sequence[tuple[str, str]] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code
        self.trace_id = trace_id
        self.request_id = request_id
        self.metadata = dict(metadata or {})
        self.retryable = retryable
        self.advice = advice
        self.field_violations = tuple(field_violations)
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        trace = f" (trace {self.trace_id})" if self.trace_id else ""
        return f"{self.reason}: {self.message}{trace}"


class WorkflowCheckpointResumeError(HoldfastError):
    """A checkpoint could not be loaded or resumed from.

    Attributes:
        last_good: the newest checkpoint that is whole and accepted, where `resume` could find one.

    """

    last_good: Any = None


class CheckpointNotFoundError(WorkflowCheckpointResumeError):
    """The workflow exists, the checkpoint does not."""


class WorkflowNotFoundError(WorkflowCheckpointResumeError):
    """Nothing was ever saved for the workflow."""


class CheckpointDeletedError(WorkflowCheckpointResumeError):
    """The checkpoint was deleted."""


class CheckpointCorruptedError(WorkflowCheckpointResumeError):
    """Stored bytes are missing or do not match their digest."""


class FormatIncompatibleError(WorkflowCheckpointResumeError):
    """The payload's format is none that the caller accepts."""


class LayoutUnsupportedError(WorkflowCheckpointResumeError):
    """The store was written by a newer server."""


class StoreUnavailableError(WorkflowCheckpointResumeError):
    """The server cannot reach its store."""


class StoreAccessDeniedError(WorkflowCheckpointResumeError):
    """The store refuses the server access."""


class ServerUnavailableError(WorkflowCheckpointResumeError):
    """The server cannot be reached, or the connection broke."""


class ShuttingDownError(WorkflowCheckpointResumeError):
    """The server is going away."""


class OverloadedError(WorkflowCheckpointResumeError):
    """Too many calls or bytes in flight."""


class DeadlineExceededError(WorkflowCheckpointResumeError):
    """The deadline passed before the call was done."""


class ClientClosedError(WorkflowCheckpointResumeError):
    """The client was closed before the call, or while it ran."""


class WriterFencedError(HoldfastError):
    """A newer writer owns the workflow."""


class RevisionConflictError(HoldfastError):
    """Something since the expected revision stands against the request: a save, a fence, the workflow's deletion."""


class CheckpointIdReusedError(HoldfastError):
    """The checkpoint id belongs to another checkpoint."""


class RequestIdReusedError(HoldfastError):
    """The request id belongs to a request with other content."""


class CommitUnknownError(HoldfastError):
    """It is not known whether the commit happened; the same request id may be sent again."""


class QuotaExceededError(HoldfastError):
    """A quota of the namespace is used up."""


class PayloadTooLargeError(HoldfastError):
    """The payload is larger than the server takes."""


class InvalidRequestError(WorkflowCheckpointResumeError, ValueError):
    """A field of the request is wrong, found by the server or by the client itself."""


class InternalError(WorkflowCheckpointResumeError):
    """The server failed; its log has the trace id."""


_CLASSES: dict[str, type[HoldfastError]] = {
    "CHECKPOINT_NOT_FOUND": CheckpointNotFoundError,
    "WORKFLOW_NOT_FOUND": WorkflowNotFoundError,
    "CHECKPOINT_DELETED": CheckpointDeletedError,
    "CHECKPOINT_CORRUPTED": CheckpointCorruptedError,
    "FORMAT_INCOMPATIBLE": FormatIncompatibleError,
    "LAYOUT_UNSUPPORTED": LayoutUnsupportedError,
    "WRITER_FENCED": WriterFencedError,
    "REVISION_CONFLICT": RevisionConflictError,
    "CHECKPOINT_ID_REUSED": CheckpointIdReusedError,
    "REQUEST_ID_REUSED": RequestIdReusedError,
    "COMMIT_UNKNOWN": CommitUnknownError,
    "STORE_UNAVAILABLE": StoreUnavailableError,
    "SHUTTING_DOWN": ShuttingDownError,
    "STORE_ACCESS_DENIED": StoreAccessDeniedError,
    "OVERLOADED": OverloadedError,
    "QUOTA_EXCEEDED": QuotaExceededError,
    "PAYLOAD_TOO_LARGE": PayloadTooLargeError,
    "INVALID_REQUEST": InvalidRequestError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    "INTERNAL": InternalError,
}


def of_reason(reason: str, message: str, **details: Any) -> HoldfastError:
    """The exception of a reason, with the traits that the table gives it."""
    value = errors_pb2.ErrorReason.DESCRIPTOR.values_by_name.get(f"ERROR_REASON_{reason}")
    if value is not None:
        traits = value.GetOptions().Extensions[errors_pb2.traits]
        details.setdefault("code", _status_code(traits.code))
        details.setdefault("retryable", traits.retryable)
        details.setdefault("advice", traits.advice)
    return _CLASSES.get(reason, HoldfastError)(message, reason=reason, **details)


def unavailable(message: str, **details: Any) -> HoldfastError:
    """The exception of a connection that cannot be made, or that broke."""
    return ServerUnavailableError(
        message,
        reason="SERVER_UNAVAILABLE",
        code=grpc.StatusCode.UNAVAILABLE,
        retryable=True,
        advice="Check that the server runs and that the target is right.",
        **details,
    )


def closed(message: str = "", **details: Any) -> HoldfastError:
    """The exception of a call on a client that is closed."""
    return ClientClosedError(
        message or "the client is closed: a call that was under way may have taken effect, or not",
        reason="CLIENT_CLOSED",
        code=grpc.StatusCode.CANCELLED,
        advice="Open another client; a call that was under way may be sent again with the same request id.",
        **details,
    )


def from_rpc_error(error: Any, *, trace_id: str, request_id: str) -> HoldfastError:
    """The exception of a failed call. Where the status has no details, the code alone tells.

    Args:
        error: what the gRPC library raised.
        trace_id: the call's trace, for statuses that the server did not make.
        request_id: the call's idempotency key, likewise.

    """
    metadata = dict(error.trailing_metadata() or ())
    status = _status(metadata.get(_DETAILS_KEY))
    info = error_details_pb2.ErrorInfo()
    if status is None or not _unpack(status, info) or info.domain != _DOMAIN:
        return _without_details(error, trace_id, request_id)
    request_info, violations = error_details_pb2.RequestInfo(), error_details_pb2.BadRequest()
    _unpack(status, request_info)
    _unpack(status, violations)
    return of_reason(
        info.reason,
        status.message,
        trace_id=request_info.serving_data or trace_id,
        request_id=request_info.request_id or request_id,
        metadata=info.metadata,
        field_violations=[(each.field, each.description) for each in violations.field_violations],
        retry_after_seconds=_retry_after(status, metadata.get(_PUSHBACK_KEY)),
    )


def _without_details(error: Any, trace_id: str, request_id: str) -> HoldfastError:
    code: grpc.StatusCode = error.code()
    details: dict[str, Any] = {"trace_id": trace_id, "request_id": request_id}
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return of_reason("DEADLINE_EXCEEDED", "the deadline passed before the server answered", code=code, **details)
    if code in _BROKEN_OFF or error.details() == _SEND_FAILED:
        return unavailable("the server cannot be reached, or the connection broke", **details)
    return of_reason("INTERNAL", f"the call ended with status {code.name}", code=code, **details)


def _status(raw: bytes | str | None) -> status_pb2.Status | None:
    if not isinstance(raw, bytes):
        return None
    try:
        return status_pb2.Status.FromString(raw)
    except DecodeError:
        return None


def _unpack(status: status_pb2.Status, into: Any) -> bool:
    """Fill in the detail of a type. One that cannot be read counts as none."""
    try:
        return any(detail.Unpack(into) for detail in status.details)
    except DecodeError:
        into.Clear()
        return False


def _retry_after(status: status_pb2.Status, pushback: bytes | str | None) -> float | None:
    """How long the server asks to wait; None where it says nothing, or nothing that can be read."""
    if isinstance(pushback, str) and _MILLISECONDS.fullmatch(pushback):
        return int(pushback) / 1000
    retry = error_details_pb2.RetryInfo()
    if not _unpack(status, retry):
        return None
    seconds: float = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return max(0.0, seconds)


def _status_code(number: int) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == number)
