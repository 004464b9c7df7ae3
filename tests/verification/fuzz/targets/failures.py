"""Failed calls: with any metadata they become an error of the client, with a bounded pause."""

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2
from holdfast import HoldfastError, RetryPolicy
from holdfast._core.statuses import from_rpc_error

from tests.verification.fuzz.messages import fill
from tests.verification.fuzz.reader import Reader

_DETAILS = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.RequestInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RetryInfo,
)
_REASONS = ("OVERLOADED", "COMMIT_UNKNOWN", "UNSPECIFIED", "OF_TOMORROW")


def check(data: bytes) -> None:
    reader = Reader(data)
    metadata: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", _details(reader))]
    if reader.below(2):
        metadata.append(("grpc-retry-pushback-ms", reader.text()))
    if reader.below(4) == 1:
        metadata.append((reader.text(), reader.raw()))
    code = reader.choice(list(grpc.StatusCode))
    error = from_rpc_error(_Failed(code, reader.text(), metadata), trace_id="t", request_id="r")
    assert isinstance(error, HoldfastError)
    assert isinstance(error.code, grpc.StatusCode)
    assert isinstance(str(error), str)
    for attempt in (1, 2**40):
        assert 0 <= RetryPolicy().pause_seconds(attempt, error) <= 35


def _details(reader: Reader) -> bytes:
    kind = reader.below(4)
    if kind == 0:
        return reader.raw()
    status = status_pb2.Status(code=reader.byte(), message=reader.text())
    info = error_details_pb2.ErrorInfo(domain="holdfast.dev", reason=reader.choice(_REASONS))
    status.details.add().Pack(info)
    for _ in range(reader.below(5)):
        detail = reader.choice(_DETAILS)()
        if kind == 1:
            status.details.append(Any(type_url=f"x/{detail.DESCRIPTOR.full_name}", value=reader.raw()))
        else:
            status.details.add().Pack(fill(detail, reader))
    return status.SerializeToString()


class _Failed:
    """An error with those parts of the gRPC library's own that the client reads."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: list[tuple[str, str | bytes]]) -> None:
        self._code = code
        self._details = details
        self._metadata = metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> list[tuple[str, str | bytes]]:
        return self._metadata
