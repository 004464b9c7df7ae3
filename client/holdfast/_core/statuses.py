"""Conversion of failed gRPC calls to errors of the SDK: by the server's details, or by the status alone."""

import re
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from holdfast._core.errors import HoldfastError, handshake_failed, of_reason, unavailable
from holdfast._core.maps import by_key

_DOMAIN = "holdfast.dev"
DETAILS_KEY = "grpc-status-details-bin"
# The details that grpc.aio gives if it cannot send a message and notices the broken connection only later.
SEND_FAILED = "Internal error from Core"
# A caller who cancels gets no status: a CANCELLED without details comes from a server that ends, or from a proxy.
_BROKEN_OFF = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
# Codes that are their own reason, from a Holdfast server as well as from a proxy.
_OWN_REASON = frozenset(
    {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED}
)
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_MILLISECONDS = re.compile(r"[0-9]{1,9}")
_SHOWN_CHARACTERS = 600

# The details of a connection that is made and ends at once, as if the other side expects TLS.
# The words differ by the policy of load balancing.
_CLOSED_AT_ONCE = re.compile(
    r"(failed to connect|connections to all backends failing).*(Socket closed|Connection reset)", re.DOTALL
)
# The details of a handshake that fails in the same way each time: not those of one that breaks off.
_HANDSHAKE_FAILED = re.compile(r"SSL_ERROR_SSL|Hostname Verification|Failed to create security handshaker")
_HANDSHAKE_PROBLEMS = (
    (
        "Hostname Verification",
        "its certificate is for another name: use a name in it as the host, or as tls.server_name",
    ),
    ("certificate has expired", "its certificate, or that of an authority, has expired: it needs a new one"),
    ("not yet valid", "its certificate is not valid yet: check the clocks of both machines"),
    (
        "CERTIFICATE_VERIFY_FAILED|BAD_SIGNATURE",
        "its certificate is of an authority that this client does not trust (tls.ca_file)",
    ),
    ("WRONG_VERSION_NUMBER|HTTP_REQUEST", "it does not use TLS: turn TLS on in the server, or off in this client"),
    ("", "the TLS handshake fails"),
)


def from_rpc_error(error: Any, *, trace_id: str, request_id: str, proxy: str = "") -> HoldfastError:
    """Return the error of a failed call.

    Args:
        error: the exception of the gRPC library.
        trace_id: the call's trace, for statuses that no Holdfast server made.
        request_id: the call's idempotency key, for the same.
        proxy: the HTTP proxy of the connection; "" for none. It is named in errors of connections.

    """
    metadata = dict(error.trailing_metadata() or ())
    status = _status(metadata.get(DETAILS_KEY))
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
        metadata=by_key(info.metadata),
        field_violations=[(violation.field, violation.description) for violation in violations.field_violations],
        retry_after_seconds=_retry_after(status, metadata.get(_PUSHBACK_KEY)),
    )


def is_closed_at_once(error: HoldfastError) -> bool:
    """Return whether an error says that a connection was made and ended at once."""
    return error.reason == "SERVER_UNAVAILABLE" and _CLOSED_AT_ONCE.search(error.message) is not None


def _without_details(error: Any, proxy: str, **details: Any) -> HoldfastError:
    """Return the error of a status that no Holdfast server made, with gRPC's code and details."""
    code: grpc.StatusCode = error.code()
    said = f"gRPC: {code.name}: {_shown(error.details())}"
    details["code"] = code
    if code in _OWN_REASON:
        return of_reason(code.name, f"the target, or something before it, refused the call ({said})", **details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return of_reason("DEADLINE_EXCEEDED", f"the deadline passed before the server answered ({said})", **details)
    if code is grpc.StatusCode.UNAVAILABLE and _HANDSHAKE_FAILED.search(error.details() or ""):
        problem = next(text for found, text in _HANDSHAKE_PROBLEMS if re.search(found, error.details()))
        return handshake_failed(f"no connection to the server: {problem} ({said})", **details)
    if code in _BROKEN_OFF or error.details() == SEND_FAILED:
        through = f", through the proxy {proxy} that the environment names" if proxy else ""
        hint = ""
        if _CLOSED_AT_ONCE.search(error.details() or ""):
            hint = "; the other side closed the connection at once: it may expect TLS, or not be a Holdfast server"
        return unavailable(
            f"the server cannot be reached{through}, or the connection broke ({said}){hint}",
            **details,
        )
    return of_reason("INTERNAL", f"the call failed with an error that no Holdfast server made ({said})", **details)


def _shown(said: str | None) -> str:
    """Return details that are not ours, on one line and cut."""
    details = (said or "no details")[: 2 * _SHOWN_CHARACTERS]
    text = "".join(character if character.isprintable() else " " for character in details)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _status(raw: bytes | str | None) -> status_pb2.Status | None:
    if not isinstance(raw, bytes):
        return None
    try:
        return status_pb2.Status.FromString(raw)
    except DecodeError:
        return None


def _unpack(status: status_pb2.Status, into: Any) -> bool:
    """Fill in the first detail of a type. Return False if there is none that can be parsed."""
    try:
        return any(detail.Unpack(into) for detail in status.details)
    except DecodeError:
        into.Clear()
        return False


def _retry_after(status: status_pb2.Status, pushback: bytes | str | None) -> float | None:
    """Return how long the server asks to wait; None if it does not say, or if that cannot be parsed."""
    if isinstance(pushback, str) and _MILLISECONDS.fullmatch(pushback):
        return int(pushback) / 1000
    retry = error_details_pb2.RetryInfo()
    if not _unpack(status, retry):
        return None
    seconds: float = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return max(0.0, seconds)
