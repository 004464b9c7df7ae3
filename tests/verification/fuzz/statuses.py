"""What the status of a failed call must have."""

import grpc
from google.rpc import error_details_pb2, status_pb2

# docs/reference/errors.md lists the ones that a client may see.
_NEVER = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
# gRPC accepts 8 KiB of metadata, with details as base64 and the message with % escapes.
_LARGEST_DETAILS = 4 << 10
_LONGEST_MESSAGE = 1 << 10


def require_told(code: grpc.StatusCode, message: str, metadata: dict[str, bytes]) -> None:
    """Check that a status has all that an error must have, and fits into gRPC's limit."""
    assert code not in _NEVER, message
    details = metadata["grpc-status-details-bin"]
    assert len(details) <= _LARGEST_DETAILS
    assert len(message.encode()) <= _LONGEST_MESSAGE
    status = status_pb2.Status.FromString(details)
    info, violations = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert any(each.Unpack(info) for each in status.details)
    assert info.reason
    assert info.domain == "holdfast.dev"
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        assert any(each.Unpack(violations) for each in status.details), f"{message!r} names no field"
        assert all(each.field and each.description for each in violations.field_violations)
