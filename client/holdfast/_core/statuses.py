"""Failed calls of gRPC as errors of the SDK: by the details that a server gives, or else by the status alone."""

import re
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from holdfast._core.errors import HoldfastError, of_reason, unavailable

_DOMAIN = "holdfast.dev"
_DETAILS_KEY = "grpc-status-details-bin"
# What grpc.aio makes of a message that it cannot send any more, where it learns of the broken connection only later.
_SEND_FAILED = "Internal error from Core"
# A caller who cancels gets no status: one without details comes from a server that ends, or from a proxy.
_BROKEN_OFF = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
# Codes that a server of Holdfast gives no other reason than their own, and that proxies give as well.
_OWN_REASON = frozenset(
    {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED}
)
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_MILLISECONDS = re.compile(r"[0-9]{1,9}")
_SHOWN_CHARACTERS = 600

# What gRPC says of a connection that is made and ends at once, as it does where the other side wants TLS.
_CLOSED_AT_ONCE = re.compile(r"failed to connect.*(Socket closed|Connection reset)", re.DOTALL)


def from_rpc_error(error: Any, *, trace_id: str, request_id: str, proxy: str = "") -> HoldfastError:
    """Return the error of a failed call.

    Args:
        error: what the gRPC library raised.
        trace_id: the call's trace, for statuses that the server did not make.
        request_id: the call's idempotency key, likewise.
        proxy: the HTTP proxy that connections go through, if there is one, for errors of connections.

    """
    metadata = dict(error.trailing_metadata() or ())
    status = _status(metadata.get(_DETAILS_KEY))
    info = error_details_pb2.ErrorInfo()
    if status is None or not _unpack(status, info) or info.domain != _DOMAIN:
        return _without_details(error, proxy, trace_id=trace_id, request_id=request_id)
    request_info, violations = error_details_pb2.RequestInfo(), error_details_pb2.BadRequest()
    _unpack(status, request_info)
    _unpack(status, violations)
    return of_reason(
        info.reason,
        status.message,
        code=error.code(),
        trace_id=request_info.serving_data or trace_id,
        request_id=request_info.request_id or request_id,
        metadata=info.metadata,
        field_violations=[(each.field, each.description) for each in violations.field_violations],
        retry_after_seconds=_retry_after(status, metadata.get(_PUSHBACK_KEY)),
    )


def _without_details(error: Any, proxy: str, **details: Any) -> HoldfastError:
    """The error of a status that no server of Holdfast made, with gRPC's code and words."""
    code: grpc.StatusCode = error.code()
    said = f"gRPC: {code.name}: {_shown(error.details())}"
    details["code"] = code
    if code in _OWN_REASON:
        return of_reason(code.name, f"the target, or something before it, refused the call ({said})", **details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return of_reason("DEADLINE_EXCEEDED", f"the deadline passed before the server answered ({said})", **details)
    if code in _BROKEN_OFF or error.details() == _SEND_FAILED:
        through = f", through the proxy {proxy} that the environment names" if proxy else ""
        hint = ""
        if _CLOSED_AT_ONCE.search(error.details() or ""):
            hint = "; the other side closed the connection at once: it may want TLS, or be no server of Holdfast"
        return unavailable(
            f"the server cannot be reached{through}, or the connection broke ({said}){hint}",
            **details,
        )
    return of_reason("INTERNAL", f"the call failed outside of the server's own errors ({said})", **details)


def _shown(said: str | None) -> str:
    """Words of others, on one line and not too many."""
    text = "".join(each if each.isprintable() else " " for each in (said or "no details")[: 2 * _SHOWN_CHARACTERS])
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


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
