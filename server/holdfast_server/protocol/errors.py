"""The errors of the protocol: one class, with a reason from the API's table.

What each reason means to a caller (status code, whether to retry, advice) is in `proto/holdfast/v1/errors.proto`;
`holdfast_server.api.errors` puts it on the wire.
"""

from enum import StrEnum


class Reason(StrEnum):
    """A reason, by the name that callers see."""

    CHECKPOINT_NOT_FOUND = "CHECKPOINT_NOT_FOUND"
    WORKFLOW_NOT_FOUND = "WORKFLOW_NOT_FOUND"
    CHECKPOINT_DELETED = "CHECKPOINT_DELETED"
    CHECKPOINT_CORRUPTED = "CHECKPOINT_CORRUPTED"
    FORMAT_INCOMPATIBLE = "FORMAT_INCOMPATIBLE"
    LAYOUT_UNSUPPORTED = "LAYOUT_UNSUPPORTED"
    WRITER_FENCED = "WRITER_FENCED"
    REVISION_CONFLICT = "REVISION_CONFLICT"
    CHECKPOINT_ID_REUSED = "CHECKPOINT_ID_REUSED"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    COMMIT_UNKNOWN = "COMMIT_UNKNOWN"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    STORE_ACCESS_DENIED = "STORE_ACCESS_DENIED"
    OVERLOADED = "OVERLOADED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    LOG_FULL = "LOG_FULL"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    INVALID_REQUEST = "INVALID_REQUEST"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INTERNAL = "INTERNAL"
    LEASE_HELD = "LEASE_HELD"
    # For a proxy in front of a server; the server itself does not authenticate callers and allows every call.
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    STORE_REPLACED = "STORE_REPLACED"
    UPLOAD_LOST = "UPLOAD_LOST"
    AUDIT_UNAVAILABLE = "AUDIT_UNAVAILABLE"
    ISSUER_UNAVAILABLE = "ISSUER_UNAVAILABLE"


class HoldfastError(Exception):
    """An operation failed for a reason that its caller can act on.

    Attributes:
        reason: the reason.
        message: the reason for people; every value in it is also in `metadata`.
        metadata: ids and values.

    """

    def __init__(self, reason: Reason, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = {name: str(value) for name, value in metadata.items()}


class MarkerGoneError(HoldfastError):
    """Revisions of a log have no marker. Only a head that is read later shows whether they were lost or deleted.

    Args:
        key: the key of the marker of the last revision.
        revision: the last revision.
        first: the first revision; None if it is the same.

    """

    def __init__(self, key: str, revision: int, first: int | None = None) -> None:
        several = f"the commit markers of revisions {first} to {revision} are gone"
        what = "a commit marker is gone" if first in (None, revision) else several
        super().__init__(Reason.CHECKPOINT_CORRUPTED, what, key=key, revision=revision)
