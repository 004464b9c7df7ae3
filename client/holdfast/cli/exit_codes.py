"""Exit codes by kind of error. docs/reference/cli.md has the same table, and a test compares the two."""

from holdfast._core.errors import HoldfastError

INTERNAL = 1
USAGE = 2
NOT_FOUND = 3
DAMAGED = 4
INCOMPATIBLE = 5
CONFLICT = 6
UNAVAILABLE = 7
REFUSED = 8
# A local file or a standard stream failed.
LOCAL_IO = 9
INTERRUPTED = 130
# The code that a shell reports if SIGPIPE ended the command.
BROKEN_PIPE = 141

BY_REASON = {
    "CHECKPOINT_NOT_FOUND": NOT_FOUND,
    "WORKFLOW_NOT_FOUND": NOT_FOUND,
    "CHECKPOINT_DELETED": NOT_FOUND,
    "CHECKPOINT_CORRUPTED": DAMAGED,
    "ROLLED_BACK": DAMAGED,
    "FORMAT_INCOMPATIBLE": INCOMPATIBLE,
    "LAYOUT_UNSUPPORTED": INCOMPATIBLE,
    "WRITER_FENCED": CONFLICT,
    "REVISION_CONFLICT": CONFLICT,
    "LEASE_HELD": CONFLICT,
    "CHECKPOINT_ID_REUSED": CONFLICT,
    "REQUEST_ID_REUSED": CONFLICT,
    "COMMIT_UNKNOWN": UNAVAILABLE,
    "STORE_UNAVAILABLE": UNAVAILABLE,
    "SERVER_UNAVAILABLE": UNAVAILABLE,
    "SHUTTING_DOWN": UNAVAILABLE,
    "HANDSHAKE_FAILED": REFUSED,
    "KEYRING_REQUIRED": REFUSED,
    "NOT_ENCRYPTED": REFUSED,
    "ENCRYPTION_KEY_MISSING": REFUSED,
    "KEY_SERVICE_UNAVAILABLE": UNAVAILABLE,
    "STORE_REPLACED": REFUSED,
    "UPLOAD_LOST": UNAVAILABLE,
    "OVERLOADED": UNAVAILABLE,
    "AUDIT_UNAVAILABLE": UNAVAILABLE,
    "ISSUER_UNAVAILABLE": UNAVAILABLE,
    "DEADLINE_EXCEEDED": UNAVAILABLE,
    "STORE_ACCESS_DENIED": REFUSED,
    "QUOTA_EXCEEDED": REFUSED,
    "LOG_FULL": REFUSED,
    "PAYLOAD_TOO_LARGE": REFUSED,
    "UNAUTHENTICATED": REFUSED,
    "PERMISSION_DENIED": REFUSED,
    "UNIMPLEMENTED": INCOMPATIBLE,
    "INVALID_REQUEST": USAGE,
    "INTERNAL": INTERNAL,
}


def of_error(error: HoldfastError) -> int:
    """Return the exit code of an error."""
    return BY_REASON.get(error.reason, INTERNAL)


def of_findings(reasons: list[str]) -> int:
    """Return the exit code of a check with findings: the code of the newest one, which comes first."""
    return BY_REASON.get(reasons[0], DAMAGED) if reasons else DAMAGED
