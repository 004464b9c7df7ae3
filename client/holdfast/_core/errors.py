"""Typed errors, one class for each reason.

Status code, whether to retry and what to do come from the table in `proto/holdfast/v1/errors.proto`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from holdfast._core.checkpoint import Checkpoint
from holdfast.v1 import errors_pb2


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

    last_good: Checkpoint | None = None


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


class UnauthenticatedError(WorkflowCheckpointResumeError):
    """The server, or something before it, does not know the caller."""


class PermissionDeniedError(WorkflowCheckpointResumeError):
    """The server, or something before it, does not allow the call."""


class UnimplementedError(WorkflowCheckpointResumeError):
    """The target does not know the call: an older server, or something else than a Holdfast server."""


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


class LogFullError(HoldfastError):
    """The log of the workflow has no slot left, or its next marker would be too large to be read again."""


class PayloadTooLargeError(WorkflowCheckpointResumeError):
    """The payload is larger than the server takes, or than the caller of a load wants."""


class InvalidRequestError(WorkflowCheckpointResumeError, ValueError):
    """A field of the request is wrong, found by the server or by the client itself."""


class LeaseHeldError(HoldfastError):
    """Another writer holds a lease of the workflow; `metadata` names it, `retry_after_seconds` tells how long."""


class InternalError(WorkflowCheckpointResumeError):
    """The server failed; its log has the trace id."""


class StoreReplacedError(WorkflowCheckpointResumeError):
    """The store under the server was emptied or replaced while it ran."""


class UploadLostError(HoldfastError):
    """The server has nothing of an upload that was to go on, or another stream goes on with it."""


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
    "LOG_FULL": LogFullError,
    "PAYLOAD_TOO_LARGE": PayloadTooLargeError,
    "INVALID_REQUEST": InvalidRequestError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    "INTERNAL": InternalError,
    "LEASE_HELD": LeaseHeldError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "UNIMPLEMENTED": UnimplementedError,
    "STORE_REPLACED": StoreReplacedError,
    "UPLOAD_LOST": UploadLostError,
}

# The class of a reason that this client does not know, where the status code says enough. NOT_FOUND is not among them,
# since a caller would take it for a workflow that has not begun.
_CLASSES_BY_CODE: dict[grpc.StatusCode, type[HoldfastError]] = {
    grpc.StatusCode.DATA_LOSS: CheckpointCorruptedError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.UNAVAILABLE: ServerUnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
}
_RETRYABLE_CODES = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


def of_reason(reason: str, message: str, **details: Any) -> HoldfastError:
    """The exception of a reason, with the traits that the table gives it.

    A reason that is not in the table is that of a newer server: its status code says what can be said.
    """
    value = errors_pb2.ErrorReason.DESCRIPTOR.values_by_name.get(f"ERROR_REASON_{reason}")
    if value is not None:
        traits = value.GetOptions().Extensions[errors_pb2.traits]
        details.setdefault("code", _status_code(traits.code))
        details.setdefault("retryable", traits.retryable)
        details.setdefault("advice", traits.advice)
    code = details.get("code")
    if reason in _CLASSES or code is None:
        return _CLASSES.get(reason, HoldfastError)(message, reason=reason, **details)
    asked_to_wait = code is grpc.StatusCode.RESOURCE_EXHAUSTED and details.get("retry_after_seconds") is not None
    details.setdefault("retryable", code in _RETRYABLE_CODES or asked_to_wait)
    details.setdefault("advice", "Upgrade the client: it does not know this reason.")
    return _CLASSES_BY_CODE.get(code, WorkflowCheckpointResumeError)(message, reason=reason, **details)


def unavailable(message: str, **details: Any) -> HoldfastError:
    """The exception of a connection that cannot be made, or that broke."""
    return ServerUnavailableError(
        message,
        reason="SERVER_UNAVAILABLE",
        retryable=True,
        advice="Check that the server runs and that the target is right.",
        **{"code": grpc.StatusCode.UNAVAILABLE, **details},
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


def _status_code(number: int) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == number)
