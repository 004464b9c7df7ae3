# Generated from holdfast/_async/calls.py by tools/async_to_sync.py; do not edit.
"""One logical call: one deadline, one trace, and as many attempts as the deadline and the retry bucket allow."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from holdfast._core import telemetry
from holdfast._core.errors import HoldfastError
from holdfast._core.retry import RetryBucket, RetryPolicy
from holdfast._core.seen_heads import Watch
from holdfast._core.tokens import Metadata
from holdfast._sync import runtime
from holdfast._sync.tokens import CurrentToken
from holdfast.v1 import checkpoint_pb2

_Result = TypeVar("_Result")

_DEADLINE = "DEADLINE_EXCEEDED"
_UNAUTHENTICATED = "UNAUTHENTICATED"
# Set by a server in the errors of streams whose token has expired since it accepted them.
ACCEPTED_KEY = "accepted"
_MIN_ATTEMPT_SECONDS = 0.1
# Longer than keepalive takes to notice a hung connection, so that the next attempt uses another one.
_USUAL_ATTEMPT_SECONDS = 12.0
# A token that was accepted for so long has expired. One that is refused sooner is not replaced without a pause.
_ACCEPTED_SECONDS = 5.0
# Calls that stream, or whose work grows with the amount of stored data.
_LONG = frozenset(
    {
        "CopyWorkflow",
        "DeleteCheckpoints",
        "DeleteWorkflow",
        "DeleteWorkflows",
        "LoadStream",
        "Prune",
        "SaveStream",
        "Validate",
    }
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a call.

    Attributes:
        number: 1 for the first attempt.
        elapsed_seconds: the time since the first attempt began.
        timeout_seconds: the time that this attempt may take.
        metadata: gRPC metadata to send with it.

    """

    number: int
    elapsed_seconds: float
    timeout_seconds: float
    metadata: tuple[tuple[str, str], ...]

    def describe(self, message: checkpoint_pb2.Attempt) -> None:
        """Set number and elapsed time in the message of an attempt."""
        message.number = self.number
        message.elapsed.FromNanoseconds(int(self.elapsed_seconds * 1e9))


class Caller:
    """Makes calls with retries.

    Args:
        channels: the channels that the calls are sent through.
        policy: how to retry.
        bucket: the client's retry tokens.
        tokens: the token that the calls send; None for none.

    """

    def __init__(
        self, channels: runtime.Channels, policy: RetryPolicy, bucket: RetryBucket, tokens: CurrentToken | None
    ) -> None:
        self._channels = channels
        self._policy = policy
        self._bucket = bucket
        self._tokens = tokens

    def call(
        self,
        method: str,
        send: Callable[[Attempt], _Result],
        *,
        watch: Watch,
        timeout_seconds: float,
        request_id: str = "",
    ) -> _Result:
        """Send a request until it succeeds, fails for good, or its time is up.

        Args:
            method: the method's name in the service.
            send: makes one attempt.
            watch: checks the head of each answer against the newest head seen before.
            timeout_seconds: for all attempts and pauses together.
            request_id: the idempotency key, for errors that the server did not make.

        Raises:
            HoldfastError: the error of the last attempt.

        """
        started = time.monotonic()
        longest = self._policy.attempt_timeout_seconds
        if longest is None:
            longest = timeout_seconds if method in _LONG else _USUAL_ATTEMPT_SECONDS
        number = 1
        previous: HoldfastError | None = None
        has_refreshed = False
        with telemetry.LogicalCall(method, request_id) as logical:
            while True:
                credentials: Metadata = ()
                began = time.monotonic()
                try:
                    with (
                        logical.attempt(number) as metadata,
                        self._channels.border(trace_id=logical.trace_id, request_id=request_id),
                    ):
                        if self._tokens is not None:
                            credentials = self._tokens.current(_left(started, timeout_seconds))
                        elapsed = time.monotonic() - started
                        timeout = max(min(timeout_seconds - elapsed, longest), 0.001)
                        result = send(Attempt(number, elapsed, timeout, (*metadata, *credentials)))
                        watch.require(result)
                except HoldfastError as raised:
                    error = self._channels.explained(raised, _left(started, timeout_seconds))
                    # Errors that the client itself raises about an answer have no trace id yet.
                    error.trace_id = error.trace_id or logical.trace_id
                    may_refresh = self._may_refresh(error, credentials, has_refreshed=has_refreshed)
                    if may_refresh and (not has_refreshed or time.monotonic() - began > _ACCEPTED_SECONDS):
                        has_refreshed = True
                        number += 1
                        continue
                    left = _left(started, timeout_seconds)
                    pause = self._pause(number, error, left) if error.retryable or may_refresh else None
                    if pause is None:
                        watch.require_of(error)
                        raise _explained(error, previous) from raised.__cause__
                    previous = previous if error.reason == _DEADLINE else error
                else:
                    self._bucket.succeeded()
                    return result
                self._channels.pause(pause)
                number += 1

    def pause_after(self, error: HoldfastError, number: int, left_seconds: float) -> None:
        """Wait before something is sent again; number says how often it was. Raise the error if it may not be."""
        pause = self._pause(number, error, left_seconds) if error.retryable else None
        if pause is None:
            raise error
        self._channels.pause(pause)

    def _may_refresh(self, error: HoldfastError, credentials: Metadata, *, has_refreshed: bool) -> bool:
        """Return whether to send a call again with a new token: once, and whenever one has expired on the way."""
        if error.reason != _UNAUTHENTICATED or self._tokens is None or not credentials:
            return False
        may_refresh = self._tokens.refuse(credentials)
        return may_refresh and (not has_refreshed or ACCEPTED_KEY in error.metadata)

    def _pause(self, number: int, error: HoldfastError, left: float) -> float | None:
        """Return how long to wait before the next attempt after an error; None if there is none."""
        wait = self._bucket.take(left)
        if wait is None:
            error.message += f"; it was not retried: {self._exhausted()}"
            error.metadata["retries"] = "off"
            return None
        pause = max(wait, self._policy.pause_seconds(number, error))
        # An attempt that ends before it can be answered would only hide the error of this one.
        return pause if pause + _MIN_ATTEMPT_SECONDS < left else None

    def _exhausted(self) -> str:
        policy = self._policy
        if not policy.burst_retries:
            return "this client's RetryPolicy allows no retries"
        return (
            f"this client has made many retries and has paused them (its RetryPolicy allows {policy.burst_retries:g} "
            f"in a row and {policy.retries_per_second:g} each second)"
        )


def _left(started: float, timeout_seconds: float) -> float:
    return max(timeout_seconds - (time.monotonic() - started), 0.001)


def _explained(error: HoldfastError, previous: HoldfastError | None) -> HoldfastError:
    """Return the error; if it only says that the time is up, add why an earlier attempt failed."""
    if previous is not None and error.reason == _DEADLINE:
        error.message += f"; an earlier attempt ended with {previous.reason}: {previous.message}"
        error.metadata["previous_reason"] = previous.reason
    return error
