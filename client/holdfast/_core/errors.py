"""The errors of the SDK, one class for each reason.

The status code of a reason, whether to retry and the advice come from the table in `proto/holdfast/v1/errors.proto`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from holdfast._core.checkpoint import Checkpoint
from holdfast.v1 import errors_pb2


class HoldfastError(Exception):
    """The failure of a call.

    Attributes:
        reason: the reason, such as "CHECKPOINT_NOT_FOUND".
        code: the gRPC status code.
        trace_id: the call's trace, 32 hex digits.
        request_id: the idempotency key, or "".
        metadata: the ids and values that belong to the message.
        advice: the caller's next step.
        retryable: whether the same request may succeed if it is sent again.
        field_violations: pairs of a field and its problem.
        retry_after_seconds: how long the server asks to wait; None if it does not say.

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
        last_good: the newest checkpoint that could be resumed from, if `resume` found one.

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
    """The caller does not accept the payload's format."""


class LayoutUnsupportedError(WorkflowCheckpointResumeError):
    """The store was written by a newer server."""


class StoreUnavailableError(WorkflowCheckpointResumeError):
    """The server cannot reach its store."""


class StoreAccessDeniedError(WorkflowCheckpointResumeError):
    """The store refuses the server access."""


class ServerUnavailableError(WorkflowCheckpointResumeError):
    """The server cannot be reached, or the connection broke."""


class HandshakeFailedError(WorkflowCheckpointResumeError):
    """Client and server cannot agree on a connection: only one uses TLS, or one refuses the other's certificate."""


class ShuttingDownError(WorkflowCheckpointResumeError):
    """The server is shutting down."""


class OverloadedError(WorkflowCheckpointResumeError):
    """The server has too many calls or bytes in flight."""


class UnauthenticatedError(WorkflowCheckpointResumeError):
    """The server, or a proxy in front of it, does not know the caller."""


class PermissionDeniedError(WorkflowCheckpointResumeError):
    """The server, or a proxy in front of it, does not allow the call."""


class UnimplementedError(WorkflowCheckpointResumeError):
    """The target does not know the call: it is an older server, or not a Holdfast server."""


class DeadlineExceededError(WorkflowCheckpointResumeError):
    """The deadline passed before the call was done."""


class ClientClosedError(WorkflowCheckpointResumeError):
    """The client was closed before the call or during it."""


class EncryptionKeyMissingError(WorkflowCheckpointResumeError):
    """The key that encrypted a checkpoint was deleted, or is not the caller's; `metadata["key_id"]` names it."""


class KeyServiceUnavailableError(WorkflowCheckpointResumeError):
    """The service that keeps a key of the keyring cannot be reached, or fails."""


class KeyringRequiredError(WorkflowCheckpointResumeError):
    """The checkpoint is encrypted, and the client has no keyring."""


class NotEncryptedError(WorkflowCheckpointResumeError):
    """The checkpoint or the record is not encrypted, and the client has a keyring."""


class RolledBackError(WorkflowCheckpointResumeError):
    """The log of the workflow is older than it was, or another one: somebody has changed it in the store.

    `metadata` names the head that was seen before (`seen_revision`, `seen_digest`) and the one that the server has now
    (`head_revision`, `head_digest`). The call itself may have taken effect on the log as it is now.
    """


class WriterFencedError(HoldfastError):
    """A newer writer owns the workflow."""


class RevisionConflictError(HoldfastError):
    """An entry after the expected revision conflicts with the request: a save, a fence, or the workflow's deletion."""


class CheckpointIdReusedError(HoldfastError):
    """The checkpoint id belongs to another checkpoint."""


class RequestIdReusedError(HoldfastError):
    """The request id belongs to a request with other content."""


class CommitUnknownError(HoldfastError):
    """The outcome of the commit is unknown. The request may be sent again with the same request id."""


class QuotaExceededError(HoldfastError):
    """A quota is used up."""


class LogFullError(HoldfastError):
    """The log of the workflow has no revision left, or its next marker would be too large to be read again."""


class PayloadTooLargeError(WorkflowCheckpointResumeError):
    """The payload is larger than the server accepts, or than the caller of a load allows."""


class InvalidRequestError(WorkflowCheckpointResumeError, ValueError):
    """A field of the request is invalid, according to the server or to the client itself."""


class LeaseHeldError(HoldfastError):
    """Another writer holds a lease of the workflow; `metadata` names it, `retry_after_seconds` is the time left."""


class InternalError(WorkflowCheckpointResumeError):
    """The server failed; its log has the trace id."""


class StoreReplacedError(WorkflowCheckpointResumeError):
    """The server's store was emptied or replaced while the server ran."""


class UploadLostError(HoldfastError):
    """The server has nothing of an upload that should resume, or another stream has resumed it."""


class AuditUnavailableError(HoldfastError):
    """The server must log the call for an audit and cannot. The call did not take effect."""


class IssuerUnavailableError(WorkflowCheckpointResumeError):
    """The server cannot fetch the keys of the tokens' issuer, one of which the token names."""


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
    "AUDIT_UNAVAILABLE": AuditUnavailableError,
    "ISSUER_UNAVAILABLE": IssuerUnavailableError,
}

# The class of a reason that this client does not know, by its status code. NOT_FOUND has none, because a caller would
# take it for a workflow that has not begun.
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
# The cause of a CHECKPOINT_CORRUPTED whose stored bytes are as the server has them, but cannot be decrypted.
DECRYPTION = "decryption"
_OF_ENCRYPTION = frozenset({"ENCRYPTION_KEY_MISSING", "KEY_SERVICE_UNAVAILABLE", "KEYRING_REQUIRED", "NOT_ENCRYPTED"})
_MOST_NAMED = 10
_RETRYABLE_CODES = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


def of_reason(reason: str, message: str, **details: Any) -> HoldfastError:
    """Return the error of a reason, with its code, advice and whether to retry from the table.

    A reason that is not in the table comes from a newer server. Its class and traits then follow from its status code.
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
    """Return the error of a connection that cannot be made or that broke."""
    return ServerUnavailableError(
        message,
        reason="SERVER_UNAVAILABLE",
        retryable=True,
        advice="Check that the server runs and that the target is right.",
        **{"code": grpc.StatusCode.UNAVAILABLE, **details},
    )


def handshake_failed(message: str, **details: Any) -> HoldfastError:
    """Return the error of a connection on which client and server cannot agree."""
    return HandshakeFailedError(
        message,
        reason="HANDSHAKE_FAILED",
        advice="Correct the target, the client's TLS, or the server's certificate; a retry does not help.",
        **{"code": grpc.StatusCode.UNAVAILABLE, **details},
    )


def closed(message: str = "", **details: Any) -> HoldfastError:
    """Return the error of a call on a closed client."""
    return ClientClosedError(
        message or "the client is closed; a call that was running may or may not have taken effect",
        reason="CLIENT_CLOSED",
        code=grpc.StatusCode.CANCELLED,
        advice="Open another client; a call that was running may be sent again with the same request id.",
        **details,
    )


def is_of_encryption(error: HoldfastError) -> bool:
    """Return whether an error is about encryption, of which a server knows nothing."""
    return error.reason in _OF_ENCRYPTION or error.metadata.get("cause") == DECRYPTION


def rolled_back(message: str, **details: Any) -> HoldfastError:
    """Return the error of a log that is older than it was, or another one."""
    return RolledBackError(
        message,
        reason="ROLLED_BACK",
        code=grpc.StatusCode.DATA_LOSS,
        advice="Stop, and ask the operator what happened to the store; after a restore, forget_head accepts its state.",
        **details,
    )


def key_missing(key_id: str, message: str) -> HoldfastError:
    """Return the error of a key that is needed and cannot be used."""
    return EncryptionKeyMissingError(
        message,
        reason="ENCRYPTION_KEY_MISSING",
        code=grpc.StatusCode.FAILED_PRECONDITION,
        metadata={"key_id": key_id},
        advice="Add the key to the keyring; if it was deleted, nothing that it encrypted can be read.",
    )


def also_wrapped(missing: HoldfastError, key_ids: Sequence[str]) -> HoldfastError:
    """Return the error of a missing key whose data keys were wrapped again, by other keys that are missing too."""
    others = ", ".join(map(repr, key_ids[:_MOST_NAMED]))
    error = key_missing(
        missing.metadata.get("key_id", ""), f"{missing.message}; its data keys are also wrapped by {others}"
    )
    error.metadata["rewrapped_by"] = ", ".join(key_ids[:_MOST_NAMED])
    return error


def key_service_unavailable(key_id: str, message: str) -> HoldfastError:
    """Return the error of a key service that cannot be reached."""
    return KeyServiceUnavailableError(
        message,
        reason="KEY_SERVICE_UNAVAILABLE",
        code=grpc.StatusCode.UNAVAILABLE,
        metadata={"key_id": key_id},
        advice="Try again; if it lasts, check the key service.",
    )


def keyring_required(what: str, **metadata: str) -> HoldfastError:
    """Return the error of encrypted data that a client without a keyring meets."""
    return KeyringRequiredError(
        f"{what} is encrypted",
        reason="KEYRING_REQUIRED",
        code=grpc.StatusCode.FAILED_PRECONDITION,
        metadata=metadata,
        advice="Give the client or the adapter the keyring: encryption=Keyring(...).",
    )


def not_encrypted(what: str, **metadata: str) -> HoldfastError:
    """Return the error of data that is not encrypted, which a client with a keyring meets."""
    return NotEncryptedError(
        f"{what} is not encrypted",
        reason="NOT_ENCRYPTED",
        code=grpc.StatusCode.FAILED_PRECONDITION,
        metadata=metadata,
        advice="Load it with a client without a keyring if it was saved without one; else somebody has replaced it.",
    )


def _status_code(number: int) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == number)
