"""The rules of retries: exponential backoff with full jitter, and a token bucket for each client.

Full jitter is the scheme of "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). A retry takes a token from
the bucket. A success gives a tenth of a token back, and so does time, at the policy's rate. A retry without a token
waits for one, or is not made if the call's time ends before. This way a dead server is not flooded, and callers still
retry when the server is back.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from holdfast._core import arguments
from holdfast._core.errors import HoldfastError

_MAX_SERVER_DELAY_SECONDS = 30.0
_MAX_TOKENS = 1e9
_TOKENS_PER_SUCCESS = 0.1


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a client retries its calls, each within the deadline of the call.

    Attributes:
        initial_backoff_seconds: the upper bound of the first pause; it doubles with each further pause.
        max_backoff_seconds: the largest upper bound.
        attempt_timeout_seconds: the most time that one attempt may take. None: 12 seconds for calls that a server
            answers at once, and all the time that is left for streams and for calls whose work grows with the size of
            what is stored (validations, copies, prunes, deletions of many).
        burst_retries: how many retries the client's calls may make in a row; 0: none.
        retries_per_second: how many more retries each second allows. A retry waits for its token if there is time.

    """

    initial_backoff_seconds: float = 0.05
    max_backoff_seconds: float = 5.0
    attempt_timeout_seconds: float | None = None
    burst_retries: float = 50.0
    retries_per_second: float = 5.0

    def __post_init__(self) -> None:
        for name in ("initial_backoff_seconds", "max_backoff_seconds"):
            arguments.amount(name, getattr(self, name), 0, arguments.LONGEST_SECONDS)
        for name in ("burst_retries", "retries_per_second"):
            arguments.amount(name, getattr(self, name), 0, _MAX_TOKENS)
        if self.attempt_timeout_seconds is not None:
            arguments.seconds("attempt_timeout_seconds", self.attempt_timeout_seconds)

    def pause_seconds(self, attempt: int, error: HoldfastError) -> float:
        """Return how long to wait after a failed attempt; 1 is the first."""
        bound = min(self.max_backoff_seconds, self.initial_backoff_seconds * 2.0 ** min(attempt - 1, 30))
        pause = random.uniform(0, bound)
        if error.retry_after_seconds is None:
            return pause
        return min(error.retry_after_seconds, _MAX_SERVER_DELAY_SECONDS) + pause


class RetryBucket:
    """The retry tokens of a client. Threads may share it: if two of them take the same token, that does no harm.

    Args:
        policy: how many tokens there are, and how fast they return.
        clock: a monotonic time in seconds.

    """

    def __init__(self, policy: RetryPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = policy.burst_retries
        self._per_second = policy.retries_per_second if policy.burst_retries else 0.0
        self._clock = clock
        self._tokens = self._capacity
        self._refilled = clock()

    def succeeded(self) -> None:
        """Note an attempt that the server answered."""
        self._add(_TOKENS_PER_SUCCESS)

    def take(self, left_seconds: float) -> float | None:
        """Take a token for a retry.

        Args:
            left_seconds: how long the retry may wait for its token.

        Returns:
            How long it must wait, in seconds; None if that is longer than it may. Then no token is taken.

        """
        self._add(0.0)
        missing = 1 - self._tokens
        if missing > 0 and (not self._per_second or missing / self._per_second >= left_seconds):
            return None
        self._tokens -= 1
        return missing / self._per_second if missing > 0 else 0.0

    def _add(self, tokens: float) -> None:
        now = self._clock()
        tokens += (now - self._refilled) * self._per_second
        self._refilled = now
        self._tokens = min(self._capacity, self._tokens + tokens)
