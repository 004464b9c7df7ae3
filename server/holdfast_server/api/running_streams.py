"""The streams in progress, which may take long: each ends when its caller's credentials expire, or are taken away.

A stream is checked again whenever tokens, signing keys or the policy change. Unary calls are short, and the calls of
a pipeline are checked one by one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from holdfast_server.api.call import Call
from holdfast_server.api.call_context import CallContext
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.timeouts import Timeout, Timeouts
from holdfast_server.trust.authentication import Authentication
from holdfast_server.trust.authorization import Authorization
from holdfast_server.trust.refusals import unauthenticated

_Result = TypeVar("_Result")

# How long a call may take to report its outcome after its deadline.
_MARGIN_SECONDS = 0.025


@dataclass(slots=True, eq=False)
class _Stream:
    """A stream in progress.

    Attributes:
        call: the call.
        context: the call, as its transport knows it.
        timeout: ends its body.
        refusal: why it must not go on; None if it may.

    """

    call: Call
    context: CallContext
    timeout: Timeout
    refusal: HoldfastError | None = None


class RunningStreams:
    """The streams of one service.

    Args:
        authentication: knows whether the caller's credentials are valid.
        authorization: knows whether the caller still has the right to the call.
        timeouts: the timeouts of the service's calls.

    """

    def __init__(self, authentication: Authentication, authorization: Authorization, timeouts: Timeouts) -> None:
        self._authentication = authentication
        self._timeouts = timeouts
        self._open: set[_Stream] = set()
        authentication.on_change(self._check_all)
        authorization.on_change(self._check_all)

    async def run(self, call: Call, context: CallContext, body: Callable[[Call], Awaitable[_Result]]) -> _Result:
        """Run the body of a stream until its caller's credentials or right end.

        Args:
            call: the call.
            context: the call, as its transport knows it.
            body: the work of the call.

        Raises:
            HoldfastError: UNAUTHENTICATED: the credentials have expired or are not valid any more. PERMISSION_DENIED:
                the caller has no right to the call any more. The outcome of a save is then unknown.

        """
        loop = asyncio.get_running_loop()
        # Without an end of its own, it ends after the timeout of the whole call.
        moment = call.deadline + 2 * _MARGIN_SECONDS
        if call.principal.expires_at is not None:
            moment = min(moment, loop.time() + call.principal.expires_at - time.time())
            call.deadline = min(call.deadline, moment)
        stream = _Stream(call, context, self._timeouts.at(moment + _MARGIN_SECONDS))
        # It may have waited for its turn since its caller was known.
        refusal = self._refusal_of(stream)
        if refusal is not None:
            raise refusal
        self._open.add(stream)
        try:
            with stream.timeout:
                return await body(call)
        except TimeoutError:
            if stream.refusal is not None:
                raise stream.refusal from None
            if call.principal.expires_at is None or loop.time() < moment:
                raise
            raise _ended("the credentials expired") from None
        finally:
            self._open.discard(stream)

    def _check_all(self) -> None:
        """End the streams whose callers have lost their credentials or their right."""
        for stream in self._open:
            stream.refusal = stream.refusal or self._refusal_of(stream)
            if stream.refusal is not None:
                stream.timeout.bring_forward(asyncio.get_running_loop().time())

    def _refusal_of(self, stream: _Stream) -> HoldfastError | None:
        call = stream.call
        try:
            principal = self._authentication.at_once(stream.context)
            if principal is None:
                return _ended("the issuer of the token withdrew its key")
            if principal.name != call.principal.name:
                return _ended(f"the credentials were given to {principal.name!r}")
            call.require_right(principal)
        except HoldfastError as error:
            return _ended(error.message) if error.reason is Reason.UNAUTHENTICATED else error
        return None


def _ended(problem: str) -> HoldfastError:
    """Return the refusal of a stream that had valid credentials when it began."""
    return unauthenticated(
        f"{problem} during the call; send it again with the same request id and new ones",
        # The client may get new ones once more.
        accepted="true",
    )
