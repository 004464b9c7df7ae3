"""Errors on the wire: a google.rpc.Status whose details tell reason, ids and trace id.

The status code and the advice of each reason come from the table in `proto/holdfast/v1/errors.proto`.
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
# Larger details are turned into another status on the way.
_LONGEST_VALUE = 512


class InvalidRequestError(HoldfastError):
    """Fields of a request are wrong.

    Attributes:
        violations: pairs of a field's path and what is wrong with it.

    """

    def __init__(self, violations: list[tuple[str, str]], reason: Reason = Reason.INVALID_REQUEST) -> None:
        field, what = violations[0]
        super().__init__(reason, f"{field}: {what}", field=field)
        self.violations = violations


def code_of(reason: Reason) -> grpc.StatusCode:
    """The status code that goes with a reason."""
    value = errors_pb2.ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"]
    return _CODES[value.GetOptions().Extensions[errors_pb2.traits].code]


def to_status(error: HoldfastError, request_id: str, trace_id: str) -> status_pb2.Status:
    """An error as it goes over the wire."""
    metadata = {name: value[:_LONGEST_VALUE] for name, value in error.metadata.items()}
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata),
        error_details_pb2.RequestInfo(request_id=request_id, serving_data=trace_id),
    ]
    if isinstance(error, InvalidRequestError):
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=what[:_LONGEST_VALUE])
            for field, what in error.violations[:8]
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if error.reason is Reason.OVERLOADED:
        delay = Duration()
        delay.FromNanoseconds(int(RETRY_AFTER_SECONDS * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(
        code=code_of(error.reason).value[0],
        message=error.message[: 2 * _LONGEST_VALUE],
        details=[_packed(detail) for detail in details],
    )


def _packed(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed
