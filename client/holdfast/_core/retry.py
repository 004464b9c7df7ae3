"""How calls are retried: full-jitter exponential backoff, and a bucket of tokens for each client.

Full jitter is the scheme of "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). A retry takes a token from
the bucket; a success gives a tenth back, and time gives some back as well. A retry for which there is no token waits
for its turn, or is not made if the call's time ends before: a dead server is not hammered, and a server that is back
finds callers that retry.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from holdfast._core import arguments
from holdfast._core.errors import HoldfastError

_LONGEST_SERVER_DELAY_SECONDS = 30.0
_MOST_TOKENS = 1e9
_TOKENS_OF_A_SUCCESS = 0.1


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try again, within a call's one deadline.

    Attributes:
        initial_backoff_seconds: the upper bound of the first pause; it doubles with each further one.
        max_backoff_seconds: the bound that it stops at.
        attempt_timeout_seconds: the most that one try may take. None: 12 seconds for calls that a server answers at
            once, and all that is left for streams and for calls whose work grows with what is stored (validations,
            copies, prunes, deletions of many).
        burst_retries: how many retries the client's calls may make in a row; 0: none.
        retries_per_second: how many further ones each second allows. A retry waits for its turn if there is time.

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
            arguments.amount(name, getattr(self, name), 0, _MOST_TOKENS)
        if self.attempt_timeout_seconds is not None:
            arguments.seconds("attempt_timeout_seconds", self.attempt_timeout_seconds)

    def pause_seconds(self, attempt: int, error: HoldfastError) -> float:
        """How long to wait after a failed try, the first being 1."""
        bound = min(self.max_backoff_seconds, self.initial_backoff_seconds * 2.0 ** min(attempt - 1, 30))
        pause = random.uniform(0, bound)
        if error.retry_after_seconds is None:
            return pause
        return min(error.retry_after_seconds, _LONGEST_SERVER_DELAY_SECONDS) + pause


class RetryBucket:
    """The tokens of a client. Threads may share one: a token that two of them take at once does no harm.

    Args:
        policy: how many tokens there are, and how fast they come back.
        clock: the time in seconds, which never goes back.

    """

    def __init__(self, policy: RetryPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = policy.burst_retries
        self._per_second = policy.retries_per_second if policy.burst_retries else 0.0
        self._clock = clock
        self._tokens = self._capacity
        self._refilled = clock()

    def succeeded(self) -> None:
        """Note a try that the server answered."""
        self._add(_TOKENS_OF_A_SUCCESS)

    def take(self, left_seconds: float) -> float | None:
        """Take a token for a retry.

        Args:
            left_seconds: how long the retry may wait for its token.

        Returns:
            How long it must wait; None if that is longer than it may, in which case no token is taken.

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
