"""Why an operation of the protocol failed: one class, whose reason is one of the API's table.

What each reason means to a caller (status code, whether to retry, advice) stands in
`proto/holdfast/v1/errors.proto` and is put on the wire in `holdfast_server.api.errors`.
"""

from enum import StrEnum


class Reason(StrEnum):
    """The reasons, by the names that callers see."""

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
    # Of the table, for what stands before a server; the server itself knows every caller and allows every call.
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    STORE_REPLACED = "STORE_REPLACED"
    UPLOAD_LOST = "UPLOAD_LOST"


class HoldfastError(Exception):
    """An operation failed for a reason that its caller can act on.

    Attributes:
        reason: which one.
        message: the same for people; every value that it shows is also in `metadata`.
        metadata: ids and values.

    """

    def __init__(self, reason: Reason, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = {name: str(value) for name, value in metadata.items()}


class MarkerGoneError(HoldfastError):
    """Slots of the log hold nothing. Whether that is damage, only a head tells that was read since.

    Args:
        key: the key of the last one.
        revision: the last one.
        first: the first one; None where it is the same.

    """

    def __init__(self, key: str, revision: int, first: int | None = None) -> None:
        several = f"the commit markers of revisions {first} to {revision} are gone"
        what = "a commit marker is gone" if first in (None, revision) else several
        super().__init__(Reason.CHECKPOINT_CORRUPTED, what, key=key, revision=revision)
