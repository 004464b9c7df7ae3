"""What ended a call: any exception as an error of the protocol, its line in the server's log, and its status."""

import logging

from holdfast_server.api.errors import CallFailedError, code_of, to_status
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.stores.base import StoreAccessDeniedError, StoreError

_LOG = logging.getLogger("holdfast.server")
_MAX_LOGGED_CHARACTERS = 2048

# Failures that an operator must see. Callers expect all others and act on them.
_LEVELS = {
    Reason.INTERNAL: logging.ERROR,
    Reason.CHECKPOINT_CORRUPTED: logging.WARNING,
    Reason.COMMIT_UNKNOWN: logging.WARNING,
    Reason.LAYOUT_UNSUPPORTED: logging.WARNING,
    Reason.STORE_ACCESS_DENIED: logging.WARNING,
    Reason.STORE_UNAVAILABLE: logging.WARNING,
}

# Failures that a store may cause which was emptied or replaced.
SUSPICIOUS = frozenset(
    {Reason.CHECKPOINT_CORRUPTED, Reason.COMMIT_UNKNOWN, Reason.STORE_ACCESS_DENIED, Reason.STORE_UNAVAILABLE}
)


def to_holdfast_error(error: Exception, *, trace_id: str, is_draining: bool) -> HoldfastError:
    """Return the protocol's error for whatever ended a call. Log an unexpected exception with its traceback."""
    if isinstance(error, HoldfastError):
        return error
    if isinstance(error, StoreError):
        is_denied = isinstance(error, StoreAccessDeniedError)
        failure = HoldfastError(Reason.STORE_ACCESS_DENIED if is_denied else Reason.STORE_UNAVAILABLE, str(error))
        failure.__cause__ = error
        return failure
    if isinstance(error, TimeoutError) and is_draining:
        return HoldfastError(
            Reason.SHUTTING_DOWN,
            "the server shut down before it knew the outcome; retry with the same request id to learn it",
        )
    if isinstance(error, TimeoutError):
        return HoldfastError(Reason.DEADLINE_EXCEEDED, "the deadline passed before the call was done")
    _LOG.error("call failed unexpectedly", exc_info=error, extra={"trace_id": trace_id})
    return HoldfastError(Reason.INTERNAL, "the server failed; its log has the trace id")


def failed_call(error: HoldfastError, *, method: str, request_id: str, trace_id: str) -> CallFailedError:
    """Return the status of a failed call. Log it with the detail of the store's failure, which the caller does not get.

    Args:
        error: why the call failed.
        method: the full method.
        request_id: the idempotency key; "" if there is none.
        trace_id: the trace, 32 hex digits.

    """
    _LOG.log(
        _LEVELS.get(error.reason, logging.DEBUG),
        "call failed",
        extra={
            "trace_id": trace_id,
            "request_id": request_id,
            "method": method,
            "reason": str(error.reason),
            "error": error.message[:_MAX_LOGGED_CHARACTERS],
            "store": _store_detail(error)[:_MAX_LOGGED_CHARACTERS],
        },
    )
    return CallFailedError(code_of(error.reason), to_status(error, request_id, trace_id))


def _store_detail(error: BaseException) -> str:
    """Return where and how the store failed, if that caused the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StoreError):
            return cause.detail
        cause = cause.__cause__ or cause.__context__
    return ""
