"""Per-call tracing, deadlines, admission and error mapping."""

import asyncio
import logging
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message

from holdfast_server.api.admission import Admission, Limits, Place
from holdfast_server.api.errors import code_of, to_status
from holdfast_server.api.malformed import refuse_malformed
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.stores.base import StoreAccessDeniedError, StoreError, freeing_space
from holdfast_server.telemetry import CallSpan, serving_call

_LOG = logging.getLogger("holdfast.server")
_DETAILS_KEY = "grpc-status-details-bin"
# Kept back from the caller's deadline, half of it for the call's own answer about an unknown outcome and half for the
# answer's way. At most this part of a short deadline.
_MARGIN_SECONDS = 0.05
_MARGIN_PART = 0.2
# A longer id is cut before it is logged, traced or sent back. No call accepts one.
_LONGEST_ID = 512
_LONGEST_LOGGED = 2048
# How long a stream may wait for its caller: for the next message, or for the caller to take one.
IDLE_SECONDS = 60.0
# How long a stream that is refused is waited for, to learn which request it brings.
_REFUSAL_SECONDS = 0.2

# What an operator must see. Anything else is an answer that callers expect and act on.
_LEVELS = {
    Reason.INTERNAL: logging.ERROR,
    Reason.CHECKPOINT_CORRUPTED: logging.WARNING,
    Reason.COMMIT_UNKNOWN: logging.WARNING,
    Reason.LAYOUT_UNSUPPORTED: logging.WARNING,
    Reason.STORE_ACCESS_DENIED: logging.WARNING,
    Reason.STORE_UNAVAILABLE: logging.WARNING,
}

# What a store says that was emptied or replaced, among others.
_DOUBTS = frozenset(
    {Reason.CHECKPOINT_CORRUPTED, Reason.COMMIT_UNKNOWN, Reason.STORE_ACCESS_DENIED, Reason.STORE_UNAVAILABLE}
)

# A caller that sends the first can go on where an earlier stream of the same request broke; the answer to it, which
# comes before anything else, is the second: the part that comes next, counted from 0, a colon, and from which byte.
RESUME_KEY = "holdfast-resume"
RECEIVED_KEY = "holdfast-received"
# Calls that may write where a full disk lets no save write any more.
_FREE_SPACE = frozenset({"Delete", "DeleteCheckpoints", "DeleteWorkflow", "DeleteWorkflows", "Prune"})
# What gRPC's own retries say of themselves.
_PREVIOUS_ATTEMPTS_KEY = "grpc-previous-rpc-attempts"
_ATTEMPTS = re.compile("[0-9]{1,4}")
_METHOD_PREFIX = "holdfast.v1.CheckpointService/"

Context = grpc.aio.ServicerContext[Any, Any]


class Call:
    """A call in progress.

    Attributes:
        method: the full method.
        trace_id: its trace, 32 hex digits.
        deadline: until when it may work, in the event loop's time.
        request_id: the idempotency key, once the request is known.
        span: its span.
        place: its place among those in flight.
        previous_attempts: how often gRPC itself has sent it before.

    """

    def __init__(self, method: str, span: CallSpan, place: Place, deadline: float, limit: float) -> None:
        self.method = method
        self.trace_id = span.trace_id or f"{random.getrandbits(128):032x}"
        self.deadline = deadline
        self.request_id = ""
        self.span = span
        self.place = place
        self.previous_attempts = 0
        self._timeout = asyncio.timeout_at(limit)

    async def __aenter__(self) -> "Call":
        await self._timeout.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._timeout.__aexit__(*exc_info)

    def end_by(self, moment: float) -> None:
        """End the call at a moment of the event loop's time, if it has not ended by then."""
        # One whose time is over, or that only sends its answer now, is ending already.
        with suppress(RuntimeError):
            self._timeout.reschedule(min(moment, self._timeout.when() or moment))

    def about(self, request: object) -> None:
        """Take note of the request that the call brought.

        Raises:
            InvalidRequestError: it could not be parsed.
            HoldfastError: OVERLOADED: its namespace has too many streams open.

        """
        refuse_malformed(request)
        named = getattr(request, "header", request)
        namespace, workflow, checkpoint, self.request_id = (
            str(getattr(named, field, ""))[:_LONGEST_ID]
            for field in ("namespace", "workflow_id", "checkpoint_id", "request_id")
        )
        self.span.describe(namespace=namespace, workflow=workflow, checkpoint=checkpoint, request_id=self.request_id)
        self.place.enter_namespace(namespace)
        if self.previous_attempts and isinstance(request, Message):
            _count_attempts(request, self.previous_attempts)


class Calls:
    """Admits calls up to a limit, and turns what goes wrong in them into statuses.

    Args:
        limit: how many calls may be in flight.
        bytes_limit: how many bytes of payload they may hold in memory together.
        longest_seconds: how long a call without a deadline may take.

    """

    def __init__(self, *, limit: int, bytes_limit: int, longest_seconds: float) -> None:
        self._admission = Admission(Limits(limit, bytes_limit))
        self._longest_seconds = longest_seconds
        self._calls: set[Call] = set()
        self._refusal: HoldfastError | None = None
        # Told of failures behind which the store may be another one by now.
        self.on_doubt: Callable[[], None] = lambda: None

    def drain(self, seconds: float) -> None:
        """Refuse new calls from now on; those in flight go on for so long, then end with SHUTTING_DOWN."""
        self._admission.is_draining = True
        limit = asyncio.get_running_loop().time() + seconds
        for call in self._calls:
            call.end_by(limit)

    def refuse(self, error: HoldfastError) -> None:
        """Refuse every call from now on with an error."""
        self._refusal = error

    async def ended(self) -> None:
        """Wait until no call is in flight."""
        await self._admission.idle()

    @asynccontextmanager
    async def enter(
        self,
        name: str,
        context: Context,
        request: object = None,
        *,
        is_stream: bool = False,
        messages: AsyncIterator[object] | None = None,
    ) -> AsyncIterator[Call]:
        """Run a call's body; whatever it raises ends the call with its status.

        Args:
            name: the method's name.
            context: the call's.
            request: its request; None where the first message of a stream is still to come.
            is_stream: whether its payload passes through in pieces.
            messages: the messages of a stream that brings its request. The body reads them.

        """
        method = _METHOD_PREFIX + name
        headers = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        with (
            freeing_space() if name in _FREE_SPACE else nullcontext(),
            serving_call(method, headers) as span,
            self._admission.place(context.peer(), is_stream=is_stream) as place,
        ):
            call = Call(method, span, place, *self._deadlines(context))
            call.previous_attempts = _previous_attempts(headers)
            try:
                async with call:
                    self._calls.add(call)
                    try:
                        await self._admit(call, request, messages)
                        yield call
                    finally:
                        self._calls.discard(call)
            except grpc.aio.AbortError:
                raise
            except asyncio.CancelledError:
                span.failed("CANCELLED", "CANCELLED")
                raise
            except Exception as error:  # noqa: BLE001 - the last line: every failure becomes a status
                failure = self._failure(error, call)
                if failure.reason in _DOUBTS:
                    self.on_doubt()
                await _abort(context, call, failure)

    async def _admit(self, call: Call, request: object, messages: AsyncIterator[object] | None) -> None:
        """Admit a call. A refusal carries the request's id, also where a stream has yet to bring it."""
        if request is not None:
            call.about(request)
        try:
            if self._refusal is not None:
                raise HoldfastError(self._refusal.reason, self._refusal.message)
            call.place.admit()
        except HoldfastError:
            if messages is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_REFUSAL_SECONDS):
                        call.about(await anext(messages, None))
            raise
        if isinstance(request, Message):
            call.place.hold(request.ByteSize())

    def _failure(self, error: Exception, call: Call) -> HoldfastError:
        """The protocol's own word for whatever ended a call."""
        if isinstance(error, HoldfastError):
            return error
        if isinstance(error, StoreError):
            is_denied = isinstance(error, StoreAccessDeniedError)
            failure = HoldfastError(Reason.STORE_ACCESS_DENIED if is_denied else Reason.STORE_UNAVAILABLE, str(error))
            failure.__cause__ = error
            return failure
        if isinstance(error, TimeoutError) and self._admission.is_draining:
            return HoldfastError(
                Reason.SHUTTING_DOWN, "the server shut down before it knew the outcome; the same request id finds out"
            )
        if isinstance(error, TimeoutError):
            return HoldfastError(Reason.DEADLINE_EXCEEDED, "the deadline passed before the call was done")
        _LOG.error("call failed unexpectedly", exc_info=error, extra={"trace_id": call.trace_id})
        return HoldfastError(Reason.INTERNAL, "the server failed; its log has the trace id")

    def _deadlines(self, context: Context) -> tuple[float, float]:
        """Until when a call may work, and when it is ended, in the event loop's time."""
        remaining = context.time_remaining()
        seconds = max(0.0, self._longest_seconds if remaining is None else min(remaining, self._longest_seconds))
        margin = min(_MARGIN_SECONDS, seconds * _MARGIN_PART)
        now = asyncio.get_running_loop().time()
        return now + seconds - margin, now + seconds - margin / 2


def resuming(context: Context) -> tuple[bool, tuple[int, int] | None]:
    """Whether a caller goes on with an upload, and from which part and byte if it says so.

    A caller that waits for the server's answer says "1", one that has asked by GetUpload says "PART:BYTE".
    """
    for key, value in context.invocation_metadata() or ():
        if key == RESUME_KEY:
            found = re.fullmatch(r"([0-9]{1,3}):([0-9]{1,15})", str(value))
            return True, (int(found[1]), int(found[2])) if found else None
    return False, None


def _store_detail(error: BaseException) -> str:
    """Where and how the store failed, if that is what ended a call: for the log, not for the caller."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, StoreError):
            return found.detail
        found = found.__cause__ or found.__context__
    return ""


def _previous_attempts(headers: Mapping[str, str]) -> int:
    """How often gRPC itself has sent a call before; 0 where it does not say, or nothing that can be read."""
    told = headers.get(_PREVIOUS_ATTEMPTS_KEY, "")
    return int(told) if _ATTEMPTS.fullmatch(told) else 0


def _count_attempts(request: Message, previous: int) -> None:
    """Make a request that gRPC itself has sent before the try that it is: its own field counts the caller's only."""
    fields = request.DESCRIPTOR.fields_by_name
    if "header" in fields and not request.HasField("header"):
        return
    named: Any = request.header if "header" in fields else request  # type: ignore[attr-defined]
    if "attempt" in named.DESCRIPTOR.fields_by_name and named.attempt.number in (0, 1):
        named.attempt.number = previous + 1


async def _abort(context: Context, call: Call, error: HoldfastError) -> NoReturn:
    status = to_status(error, call.request_id, call.trace_id)
    code = code_of(error.reason)
    call.span.failed(error.reason, code.name)
    _LOG.log(
        _LEVELS.get(error.reason, logging.DEBUG),
        "call failed",
        extra={
            "trace_id": call.trace_id,
            "request_id": call.request_id,
            "method": call.method,
            "reason": str(error.reason),
            "error": error.message[:_LONGEST_LOGGED],
            "store": _store_detail(error)[:_LONGEST_LOGGED],
        },
    )
    metadata = ((_DETAILS_KEY, status.SerializeToString()),)
    await context.abort(code, status.message, metadata)
    raise AssertionError("abort does not return")
