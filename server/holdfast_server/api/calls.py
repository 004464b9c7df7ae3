"""What surrounds every call: its span, its deadline, its place among those in flight, its errors."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message

from holdfast_server.api.errors import InvalidRequestError, code_of, to_status
from holdfast_server.api.malformed import explain, request_type
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.stores.base import StoreAccessDeniedError, StoreError
from holdfast_server.telemetry import CallSpan, serving_call

_LOG = logging.getLogger("holdfast.server")
_DETAILS_KEY = "grpc-status-details-bin"
# Kept back from the caller's deadline, so that an answer about an unknown outcome still arrives.
_MARGIN_SECONDS = 0.05
# What a stream holds in memory: parts on their way to the store, or blocks on their way to the caller.
_STREAM_BYTES = 32 << 20

# A caller that sends the first can go on where an earlier stream of the same request broke; the answer to it, which
# comes before anything else, is the second: the part that comes next, counted from 0, a colon, and from which byte.
RESUME_KEY = "holdfast-resume"
RECEIVED_KEY = "holdfast-received"
_METHOD_PREFIX = "holdfast.v1.CheckpointService/"

Context = grpc.aio.ServicerContext[Any, Any]


class Call:
    """A call in progress.

    Attributes:
        method: the full method.
        trace_id: its trace, 32 hex digits.
        deadline: in the event loop's time.
        request_id: the idempotency key, once the request is known.
        span: its span.

    """

    def __init__(self, method: str, trace_id: str, deadline: float, span: CallSpan) -> None:
        self.method = method
        self.trace_id = trace_id
        self.deadline = deadline
        self.request_id = ""
        self.span = span

    def about(self, request: object) -> None:
        """Take note of the request that the call brought.

        Raises:
            InvalidRequestError: it could not be parsed.

        """
        refuse_malformed(request)
        named = getattr(request, "header", request)
        self.request_id = str(getattr(named, "request_id", ""))
        self.span.describe(
            namespace=getattr(named, "namespace", ""),
            workflow=getattr(named, "workflow_id", ""),
            checkpoint=getattr(named, "checkpoint_id", ""),
            request_id=self.request_id,
        )


class Calls:
    """Admits calls up to a limit, and turns what goes wrong in them into statuses.

    Args:
        limit: how many calls may be in flight.
        bytes_limit: how many bytes of payload they may hold in memory together.
        longest_seconds: how long a call without a deadline may take.

    """

    def __init__(self, *, limit: int, bytes_limit: int, longest_seconds: float) -> None:
        self._limit = limit
        self._bytes_limit = bytes_limit
        self._longest_seconds = longest_seconds
        self._in_flight = 0
        self._bytes_in_flight = 0
        self._timeouts: set[asyncio.Timeout] = set()
        self._is_draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    def drain(self, seconds: float) -> None:
        """Refuse new calls from now on; those in flight go on for so long, then end with SHUTTING_DOWN."""
        self._is_draining = True
        limit = asyncio.get_running_loop().time() + seconds
        for timeout in self._timeouts:
            timeout.reschedule(min(limit, timeout.when() or limit))

    async def ended(self) -> None:
        """Wait until no call is in flight."""
        await self._idle.wait()

    @asynccontextmanager
    async def enter(
        self, name: str, context: Context, request: object = None, *, is_stream: bool = False
    ) -> AsyncIterator[Call]:
        """Run a call's body; whatever it raises ends the call with its status.

        Args:
            name: the method's name.
            context: the call's.
            request: its request; None where the first message of a stream is still to come.
            is_stream: whether its payload passes through in pieces.

        """
        method = _METHOD_PREFIX + name
        size = _STREAM_BYTES if is_stream else request.ByteSize() if isinstance(request, Message) else 0
        headers = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        with serving_call(method, headers) as span:
            call = Call(method, span.trace_id or f"{random.getrandbits(128):032x}", self._deadline(context), span)
            self._in_flight += 1
            self._idle.clear()
            self._bytes_in_flight += size
            try:
                async with asyncio.timeout_at(call.deadline + _MARGIN_SECONDS) as timeout:
                    self._timeouts.add(timeout)
                    try:
                        self._admit()
                        if request is not None:
                            call.about(request)
                        yield call
                    finally:
                        self._timeouts.discard(timeout)
            except grpc.aio.AbortError:
                raise
            except asyncio.CancelledError:
                span.failed("CANCELLED", "CANCELLED")
                raise
            except Exception as error:  # noqa: BLE001 - the last line: every failure becomes a status
                await _abort(context, call, self._failure(error, call))
            finally:
                self._in_flight -= 1
                self._bytes_in_flight -= size
                if not self._in_flight:
                    self._idle.set()

    def _admit(self) -> None:
        if self._is_draining:
            raise HoldfastError(Reason.SHUTTING_DOWN, "the server is shutting down")
        if self._in_flight > self._limit:
            raise HoldfastError(
                Reason.OVERLOADED, f"{self._limit} calls are in flight already", calls_limit=self._limit
            )
        if self._bytes_in_flight > self._bytes_limit and self._in_flight > 1:
            raise HoldfastError(
                Reason.OVERLOADED,
                f"the calls in flight hold {self._bytes_limit} bytes already",
                bytes_limit=self._bytes_limit,
            )

    def _failure(self, error: Exception, call: Call) -> HoldfastError:
        """The protocol's own word for whatever ended a call."""
        if isinstance(error, HoldfastError):
            return error
        if isinstance(error, StoreAccessDeniedError):
            return HoldfastError(Reason.STORE_ACCESS_DENIED, str(error))
        if isinstance(error, StoreError):
            return HoldfastError(Reason.STORE_UNAVAILABLE, str(error))
        if isinstance(error, TimeoutError) and self._is_draining:
            return HoldfastError(
                Reason.SHUTTING_DOWN, "the server shut down before it knew the outcome; the same request id finds out"
            )
        if isinstance(error, TimeoutError):
            return HoldfastError(Reason.DEADLINE_EXCEEDED, "the deadline passed before the call was done")
        _LOG.error("call failed unexpectedly", exc_info=error, extra={"trace_id": call.trace_id})
        return HoldfastError(Reason.INTERNAL, "the server failed; its log has the trace id")

    def _deadline(self, context: Context) -> float:
        remaining = context.time_remaining()
        seconds = self._longest_seconds if remaining is None else min(remaining, self._longest_seconds)
        return asyncio.get_running_loop().time() + max(0.0, seconds - _MARGIN_SECONDS)


class MalformedRequests(grpc.aio.ServerInterceptor):
    """Answers bytes that are no message of the API with a status that says so, as for any other bad field."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wrap the deserializer of a call."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith("/holdfast."):
            return handler
        parse = handler.request_deserializer

        def lenient(raw: bytes) -> Any:
            try:
                return parse(raw)
            except Exception:  # noqa: BLE001 - whatever the parser says, the bytes are no request
                return Malformed(*explain(raw, request_type(handler_call_details.method)))

        return handler._replace(request_deserializer=lenient)


class Malformed:
    """Stands for a request that could not be parsed, and tells which field of it is to blame."""

    def __init__(self, field: str, what: str) -> None:
        self.field = field
        self.what = what


def is_resuming(context: Context) -> bool:
    """Whether the caller can go on where an earlier stream of the same request broke."""
    return any(key == RESUME_KEY for key, _ in context.invocation_metadata() or ())


def refuse_malformed(message: object) -> None:
    """Refuse a message that could not be parsed.

    Raises:
        InvalidRequestError: it could not.

    """
    if isinstance(message, Malformed):
        raise InvalidRequestError(message.field, message.what)


async def _abort(context: Context, call: Call, error: HoldfastError) -> NoReturn:
    status = to_status(error, call.request_id, call.trace_id)
    code = code_of(error.reason)
    call.span.failed(error.reason, code.name)
    _LOG.info(
        "call failed",
        extra={
            "trace_id": call.trace_id,
            "request_id": call.request_id,
            "method": call.method,
            "reason": str(error.reason),
            "error": error.message,
        },
    )
    metadata = ((_DETAILS_KEY, status.SerializeToString()),)
    await context.abort(code, status.message, metadata)
    raise AssertionError("abort does not return")
