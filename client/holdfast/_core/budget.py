"""The time of a logical call that takes several requests, such as the pages of a list."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast._core.errors import of_reason


class Budget:
    """The seconds that are left for the requests of a call. The caller's own time between them does not count.

    Args:
        seconds: the time for all requests together.

    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._left = seconds

    def renew(self) -> None:
        """Restore all the seconds."""
        self._left = self._seconds

    @contextmanager
    def spending(self) -> Iterator[float]:
        """Count the time of a request. Yields the seconds that it may take.

        Raises:
            DeadlineExceededError: none are left.

        """
        if self._left <= 0:
            raise of_reason(
                "DEADLINE_EXCEEDED", f"the {self._seconds:g} seconds for all requests of the call passed before its end"
            )
        began = time.monotonic()
        try:
            yield self._left
        finally:
            self._left -= time.monotonic() - began
