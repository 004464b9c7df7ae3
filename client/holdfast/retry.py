"""How calls are retried: full-jitter exponential backoff, and a bucket of tokens that a channel shares.

Full jitter is the scheme of "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015); the bucket is
that of gRPC's retry throttling (gRFC A6): a failure takes a token, a success gives a tenth back, and
below half there are no retries, so that a dead server is not hammered.
"""

import random
from dataclasses import dataclass

from holdfast import arguments
from holdfast.errors import HoldfastError

_LONGEST_SERVER_DELAY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try again, within a call's one deadline.

    Attributes:
        initial_backoff_seconds: the upper bound of the first pause; it doubles with each further one.
        max_backoff_seconds: the bound that it stops at.
        attempt_timeout_seconds: the most that one try may take; None: all that is left.

    """

    initial_backoff_seconds: float = 0.05
    max_backoff_seconds: float = 5.0
    attempt_timeout_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("initial_backoff_seconds", "max_backoff_seconds"):
            arguments.amount(name, getattr(self, name), 0, arguments.LONGEST_SECONDS)
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
    """The tokens of a channel. `is_open` tells whether a failed try may be followed by another."""

    _CAPACITY = 100.0

    def __init__(self) -> None:
        self._tokens = self._CAPACITY

    @property
    def is_open(self) -> bool:
        """Whether enough tries have succeeded lately."""
        return self._tokens > self._CAPACITY / 2

    def succeeded(self) -> None:
        """Note a try that the server answered."""
        self._tokens = min(self._CAPACITY, self._tokens + 0.1)

    def failed(self) -> None:
        """Note a try that failed and could be retried."""
        self._tokens = max(0.0, self._tokens - 1)
