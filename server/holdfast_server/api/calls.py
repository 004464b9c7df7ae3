"""Per-call tracing, deadlines, admission and error mapping."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from google.protobuf.message import Message

from holdfast_server import telemetry
from holdfast_server.api import failures
from holdfast_server.api.admission import Admission
from holdfast_server.api.call import METHOD_PREFIX, Call, previous_attempts
from holdfast_server.api.call_context import CallContext, CallerGoneError
from holdfast_server.api.capacity import Capacity
from holdfast_server.api.malformed import Unparsed
from holdfast_server.api.metering import Meter
from holdfast_server.api.running_streams import RunningStreams
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.telemetry import CallSpan
from holdfast_server.timeouts import Timeouts
from holdfast_server.trust.audit import AuditLog
from holdfast_server.trust.audited_call import AuditedCall
from holdfast_server.trust.authentication import Authentication, Everybody
from holdfast_server.trust.authorization import Authorization
from holdfast_server.trust.principal import ANONYMOUS, Principal

_Result = TypeVar("_Result")

# Reserved from the caller's deadline: half for the call to report an unknown outcome, half for the answer to arrive.
# Never more than this part of a short deadline.
_MARGIN_SECONDS = 0.05
_MARGIN_PART = 0.2
# How long to wait for the header of a stream that is refused, so that the refusal carries its request id.
_REFUSAL_SECONDS = 0.2
_ANYBODY = Everybody(ANONYMOUS)
_EVERYTHING = Authorization()


class Calls:
    """Admits calls up to a limit, and maps their failures to statuses.

    Args:
        limit: how many calls may be in flight.
        bytes_limit: how many bytes of payload they may hold in memory together.
        fair_calls: how many calls may work at once, in turns of their namespaces; 0 if there are no turns.
        longest_seconds: how long a call without a deadline may take.
        authentication: finds the principal of each call.
        audit: the audit log; None for none.
        authorization: decides what each principal may do.
        meter: enforces the quotas of namespaces; None if there are none.

    Attributes:
        audit: the same.
        admission: issues the permits.
        on_suspicion: called after a failure that an emptied or replaced store may have caused.

    """

    def __init__(
        self,
        *,
        limit: int,
        bytes_limit: int,
        longest_seconds: float,
        authentication: Authentication = _ANYBODY,
        audit: AuditLog | None = None,
        fair_calls: int = 0,
        authorization: Authorization = _EVERYTHING,
        meter: Meter | None = None,
    ) -> None:
        self.admission = Admission(Capacity(limit, bytes_limit, fair_calls), meter)
        self.audit = audit
        self._longest_seconds = longest_seconds
        self._authentication = authentication
        self._authorization = authorization
        self._timeouts = Timeouts()
        self._streams = RunningStreams(authentication, authorization, self._timeouts)
        self._refusal: HoldfastError | None = None
        self.on_suspicion: Callable[[], None] = lambda: None

    def drain(self, seconds: float) -> None:
        """Refuse new calls from now on. Calls in flight may continue for `seconds`, then end with SHUTTING_DOWN."""
        self.admission.is_draining = True
        self._timeouts.bring_forward(asyncio.get_running_loop().time() + seconds)

    def refuse(self, error: HoldfastError) -> None:
        """Refuse every call from now on with an error."""
        self._refusal = error

    async def principal_of(self, context: CallContext) -> Principal:
        """Return the principal of a call, or of any other request that came the same way.

        Raises:
            HoldfastError: UNAUTHENTICATED: the caller has no valid credentials.

        """
        known = self._authentication.at_once(context)
        return known if known is not None else await self._authentication.principal_of(context)

    async def require_admin(self, method: str, context: CallContext) -> None:
        """Refuse a request about the whole server, that is not one of the service's methods, to other callers.

        Args:
            method: the full method.
            context: the request, as its transport knows it.

        Raises:
            CallFailedError: UNAUTHENTICATED, PERMISSION_DENIED.

        """
        principal: Principal | None = None
        try:
            principal = await self.principal_of(context)
            self._authorization.require_admin(principal)
        except HoldfastError as error:
            trace_id = telemetry.trace_id_of(context.headers)
            if self.audit is not None:
                name = "" if principal is None else principal.name
                self.audit.refused(method, peer=context.peer, principal=name, reason=error.reason, trace_id=trace_id)
            raise failures.failed_call(error, method=method, request_id="", trace_id=trace_id) from None

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
        is_watch: bool = False,
        messages: AsyncIterator[object] | None = None,
    ) -> _Result:
        """Admit a call, run its body and return the result.

        Args:
            name: the method's name.
            context: the call, as its transport knows it.
            request: the request, perhaps `Unparsed`; None if the first message of a stream will bring it.
            body: the work of the call.
            is_stream: whether the payload comes or goes in chunks.
            is_watch: whether it goes on for as long as its caller likes; the body begins the watch of its permit.
            messages: the messages of a stream that brings the request. The body reads them.

        Raises:
            CallFailedError: the call was refused, or its body raised any exception.
            CallerGoneError: the body raised it.

        """
        method = METHOD_PREFIX + name
        with (
            CallSpan(method, context.headers) as span,
            self.admission.permit(context.peer, is_stream=is_stream) as permit,
        ):
            deadline, end = self._deadlines(context)
            call = Call(
                method,
                span,
                permit,
                deadline,
                previous_attempts(context.headers),
                authorization=self._authorization,
            )
            if self.audit is not None:
                call.audited = AuditedCall(self.audit, name, peer=context.peer, trace_id=call.trace_id)
            outcome = "OK"
            try:
                with self._timeouts.at(end):
                    call.principal = await self.principal_of(context)
                    if call.audited is not None:
                        call.audited.principal = call.principal.name
                    try:
                        self._admit(call, request)
                    except HoldfastError:
                        if messages is not None:
                            await _receive_ids(call, messages)
                        raise
                    await permit.take_turn()
                    if call.request is not None:
                        await call.record_request()
                    result = await (self._streams.run(call, context, body) if is_stream or is_watch else body(call))
                    if permit.share is not None and isinstance(result, Message):
                        permit.charge(result.ByteSize())
                    return result
            except (asyncio.CancelledError, CallerGoneError):
                outcome = "CANCELLED"
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
                outcome = failure.reason
                span.failed(failure.reason, failed.code.name)
                raise failed from None
            finally:
                if call.audited is not None:
                    call.audited.record_response(outcome)

    def _admit(self, call: Call, request: object) -> None:
        """Take the request, unless a stream brings it later, and refuse the call if there is no room for it."""
        call.request = request.parsed() if isinstance(request, Unparsed) else request
        if call.request is not None:
            call.set_request(call.request)
        if self._refusal is not None:
            raise HoldfastError(self._refusal.reason, self._refusal.message)
        call.permit.require_capacity()
        if isinstance(call.request, Message):
            size_bytes = call.request.ByteSize()
            call.permit.hold(size_bytes)
            call.permit.charge(size_bytes)

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
