"""Per-call tracing, deadlines, admission and error mapping."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from google.protobuf.message import Message

from holdfast_server.api import failures
from holdfast_server.api.admission import Admission, Capacity, Permit
from holdfast_server.api.call_context import CallContext, CallerGoneError
from holdfast_server.api.malformed import refuse_malformed
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.telemetry import CallSpan

_Result = TypeVar("_Result")

METHOD_PREFIX = "holdfast.v1.CheckpointService/"
# Reserved from the caller's deadline: half for the call to report an unknown outcome, half for the answer to arrive.
# Never more than this part of a short deadline.
_MARGIN_SECONDS = 0.05
_MARGIN_PART = 0.2
# A longer id is cut before it is logged, traced or sent back. Every call refuses it.
_MAX_ID_CHARACTERS = 512
# How long to wait for the header of a stream that is refused, so that the refusal carries its request id.
_REFUSAL_SECONDS = 0.2
# gRPC's own retries state their number here.
PREVIOUS_ATTEMPTS_KEY = "grpc-previous-rpc-attempts"
_ATTEMPTS = re.compile("[0-9]{1,4}")


class Call:
    """A call in progress.

    Attributes:
        method: the full method.
        trace_id: the trace, 32 hex digits.
        deadline: until when the call may work, in the event loop's time.
        request_id: the idempotency key, once the request is known.
        span: the call's span.
        permit: what the call holds while it is admitted.
        previous_attempts: how often gRPC itself has sent the call before.

    """

    def __init__(self, method: str, span: CallSpan, permit: Permit, deadline: float, end: float) -> None:
        self.method = method
        self.trace_id = span.trace_id
        self.deadline = deadline
        self.request_id = ""
        self.span = span
        self.permit = permit
        self.previous_attempts = 0
        self._timeout = asyncio.timeout_at(end)

    async def __aenter__(self) -> "Call":
        await self._timeout.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._timeout.__aexit__(*exc_info)

    def end_by(self, moment: float) -> None:
        """End the call at a moment of the event loop's time, if it has not ended before."""
        # Fails if the timeout has fired or the body has ended: then the call is ending already.
        with suppress(RuntimeError):
            self._timeout.reschedule(min(moment, self._timeout.when() or moment))

    def set_request(self, request: object) -> None:
        """Take the request's ids into the span and the errors, and count the call for its namespace.

        Raises:
            InvalidRequestError: the request could not be parsed.
            HoldfastError: OVERLOADED: the namespace has too many open streams.

        """
        refuse_malformed(request)
        header = getattr(request, "header", request)
        namespace, workflow, checkpoint, self.request_id = (
            str(getattr(header, field, ""))[:_MAX_ID_CHARACTERS]
            for field in ("namespace", "workflow_id", "checkpoint_id", "request_id")
        )
        self.span.describe(namespace=namespace, workflow=workflow, checkpoint=checkpoint, request_id=self.request_id)
        self.permit.enter_namespace(namespace)
        if self.previous_attempts and isinstance(request, Message):
            _set_attempt_number(request, self.previous_attempts)


class Calls:
    """Admits calls up to a limit, and maps their failures to statuses.

    Args:
        limit: how many calls may be in flight.
        bytes_limit: how many bytes of payload they may hold in memory together.
        longest_seconds: how long a call without a deadline may take.

    Attributes:
        admission: issues the permits.
        on_suspicion: called after a failure that an emptied or replaced store may have caused.

    """

    def __init__(self, *, limit: int, bytes_limit: int, longest_seconds: float) -> None:
        self.admission = Admission(Capacity(limit, bytes_limit))
        self._longest_seconds = longest_seconds
        self._calls: set[Call] = set()
        self._refusal: HoldfastError | None = None
        self.on_suspicion: Callable[[], None] = lambda: None

    def drain(self, seconds: float) -> None:
        """Refuse new calls from now on. Calls in flight may continue for `seconds`, then end with SHUTTING_DOWN."""
        self.admission.is_draining = True
        end = asyncio.get_running_loop().time() + seconds
        for call in self._calls:
            call.end_by(end)

    def refuse(self, error: HoldfastError) -> None:
        """Refuse every call from now on with an error."""
        self._refusal = error

    async def ended(self) -> None:
        """Wait until no call is in flight."""
        await self.admission.idle()

    async def run(
        self,
        name: str,
        context: CallContext,
        request: object,
        body: Callable[[Call], Awaitable[_Result]],
        *,
        is_stream: bool = False,
        messages: AsyncIterator[object] | None = None,
    ) -> _Result:
        """Admit a call, run its body and return the result.

        Args:
            name: the method's name.
            context: the call, as its transport knows it.
            request: the request; None if the first message of a stream will bring it.
            body: the work of the call.
            is_stream: whether the payload comes or goes in chunks.
            messages: the messages of a stream that brings the request. The body reads them.

        Raises:
            CallFailedError: the call was refused, or its body raised any exception.
            CallerGoneError: the body raised it.

        """
        with (
            CallSpan(METHOD_PREFIX + name, context.headers) as span,
            self.admission.permit(context.peer, is_stream=is_stream) as permit,
        ):
            call = Call(METHOD_PREFIX + name, span, permit, *self._deadlines(context))
            call.previous_attempts = _previous_attempts(context.headers)
            try:
                async with call:
                    self._calls.add(call)
                    try:
                        try:
                            self._admit(call, request)
                        except HoldfastError:
                            if messages is not None:
                                await _receive_ids(call, messages)
                            raise
                        return await body(call)
                    finally:
                        self._calls.discard(call)
            except (asyncio.CancelledError, CallerGoneError):
                span.failed("CANCELLED", "CANCELLED")
                raise
            except Exception as error:  # noqa: BLE001 - every failure becomes a status here
                failure = failures.to_holdfast_error(
                    error, trace_id=call.trace_id, is_draining=self.admission.is_draining
                )
                if failure.reason in failures.SUSPICIOUS:
                    self.on_suspicion()
                failed = failures.failed_call(
                    failure, method=call.method, request_id=call.request_id, trace_id=call.trace_id
                )
                span.failed(failure.reason, failed.code.name)
                raise failed from None

    def _admit(self, call: Call, request: object) -> None:
        """Take the request, unless a stream brings it later, and refuse the call if there is no room for it."""
        if request is not None:
            call.set_request(request)
        if self._refusal is not None:
            raise HoldfastError(self._refusal.reason, self._refusal.message)
        call.permit.require_capacity()
        if isinstance(request, Message):
            call.permit.hold(request.ByteSize())

    def _deadlines(self, context: CallContext) -> tuple[float, float]:
        """Return until when a call may work, and when it is ended, in the event loop's time."""
        remaining = context.time_remaining()
        seconds = max(0.0, self._longest_seconds if remaining is None else min(remaining, self._longest_seconds))
        margin = min(_MARGIN_SECONDS, seconds * _MARGIN_PART)
        now = asyncio.get_running_loop().time()
        return now + seconds - margin, now + seconds - margin / 2


async def _receive_ids(call: Call, messages: AsyncIterator[object]) -> None:
    """Wait for the first message of a stream that is refused, so that the refusal carries the request id."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_REFUSAL_SECONDS):
            call.set_request(await anext(messages, None))


def _previous_attempts(headers: Mapping[str, str]) -> int:
    """Return how often gRPC itself has sent a call before; 0 if the header is absent or malformed."""
    attempts = headers.get(PREVIOUS_ATTEMPTS_KEY, "")
    return int(attempts) if _ATTEMPTS.fullmatch(attempts) else 0


def _set_attempt_number(request: Message, previous: int) -> None:
    """Count gRPC's own retries in the request's attempt, which the caller set before them."""
    fields = request.DESCRIPTOR.fields_by_name
    if "header" in fields and not request.HasField("header"):
        return
    header: Any = request.header if "header" in fields else request  # type: ignore[attr-defined]
    if "attempt" in header.DESCRIPTOR.fields_by_name and header.attempt.number in (0, 1):
        header.attempt.number = previous + 1
