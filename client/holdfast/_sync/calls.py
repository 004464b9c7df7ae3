# Generated from holdfast/_async/calls.py by tools/async_to_sync.py; do not edit.
"""One logical call: one deadline, one trace, and as many tries as both and the bucket allow."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from holdfast._core import telemetry
from holdfast._core.errors import HoldfastError
from holdfast._core.retry import RetryBucket, RetryPolicy
from holdfast._sync import runtime
from holdfast.v1 import checkpoint_pb2

_Result = TypeVar("_Result")

_DEADLINE = "DEADLINE_EXCEEDED"
_SHORTEST_TRY_SECONDS = 0.1
# More than a hung connection takes to be noticed by keepalive, so that the next try finds another one.
_USUAL_TRY_SECONDS = 12.0
# Calls that send or receive for as long as it takes, or whose work grows with what is stored.
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
class Try:
    """One try of a call: its number from 1, the seconds since the first, its time, and its metadata."""

    number: int
    elapsed_seconds: float
    timeout_seconds: float
    metadata: tuple[tuple[str, str], ...]

    @property
    def attempt(self) -> checkpoint_pb2.Attempt:
        """The same as a message."""
        attempt = checkpoint_pb2.Attempt(number=self.number)
        attempt.elapsed.FromNanoseconds(int(self.elapsed_seconds * 1e9))
        return attempt


class Caller:
    """Makes calls with retry.

    Args:
        channels: what the calls are sent through.
        policy: how to retry.
        bucket: the channel's tokens.

    """

    def __init__(self, channels: runtime.Channels, policy: RetryPolicy, bucket: RetryBucket) -> None:
        self._channels = channels
        self._policy = policy
        self._bucket = bucket

    def call(
        self, method: str, send: Callable[[Try], _Result], *, timeout_seconds: float, request_id: str = ""
    ) -> _Result:
        """Send until it succeeds, fails for good, or the time is up.

        Args:
            method: the method's name in the service.
            send: makes one try.
            timeout_seconds: for all tries and pauses together.
            request_id: the idempotency key, for errors that the server did not make.

        Raises:
            HoldfastError: the last try's error.

        """
        started = time.monotonic()
        longest = self._policy.attempt_timeout_seconds
        if longest is None:
            longest = timeout_seconds if method in _LONG else _USUAL_TRY_SECONDS
        number = 1
        before: HoldfastError | None = None
        with telemetry.logical_call(method, request_id) as logical:
            while True:
                elapsed = time.monotonic() - started
                left = timeout_seconds - elapsed
                timeout = max(min(left, longest), 0.001)
                try:
                    with (
                        logical.attempt(number) as metadata,
                        self._channels.border(trace_id=logical.trace_id, request_id=request_id),
                    ):
                        result = send(Try(number, elapsed, timeout, metadata))
                except HoldfastError as error:
                    # What the client itself finds wrong with an answer has none yet.
                    error.trace_id = error.trace_id or logical.trace_id
                    pause = self._pause(number, error, timeout_seconds - (time.monotonic() - started))
                    if pause is None:
                        raise _explained(error, before) from error.__cause__
                    before = before if error.reason == _DEADLINE else error
                else:
                    self._bucket.succeeded()
                    return result
                self._channels.pause(pause)
                number += 1

    def _pause(self, number: int, error: HoldfastError, left: float) -> float | None:
        if not error.retryable:
            return None
        wait = self._bucket.take(left)
        if wait is None:
            error.message += f"; it was not tried again: {self._off()}"
            error.metadata["retries"] = "off"
            return None
        pause = max(wait, self._policy.pause_seconds(number, error))
        # A try that ends before it could be answered would only hide what this one was told.
        return pause if pause + _SHORTEST_TRY_SECONDS < left else None

    def _off(self) -> str:
        policy = self._policy
        if not policy.burst_retries:
            return "this client's RetryPolicy allows no retries"
        return (
            f"retries of this client are off for a moment, since it has made many (its RetryPolicy allows "
            f"{policy.burst_retries:g} in a row and {policy.retries_per_second:g} each second)"
        )


def _explained(error: HoldfastError, before: HoldfastError | None) -> HoldfastError:
    """An error that tells only that the time is up also tells what an earlier try had met."""
    if before is not None and error.reason == _DEADLINE:
        error.message += f"; an earlier try ended with {before.reason}: {before.message}"
        error.metadata["previous_reason"] = before.reason
    return error
