"""Timeouts that share one timer: for blocks that are entered often and rarely reach their end."""

import asyncio
from types import TracebackType


class Timeouts:
    """The open timeouts of one event loop.

    `asyncio.timeout_at` sets a timer of the loop for each block. Here entering and leaving a block changes a set, and
    the timer is set again only if the new timeout is the earliest of all.
    """

    def __init__(self) -> None:
        self._open: set[Timeout] = set()
        self._timer: asyncio.Handle | None = None
        self._fires_at = 0.0

    def at(self, moment: float) -> "Timeout":
        """Return a timeout for one `with` block, which ends with TimeoutError at a moment of the event loop's time."""
        return Timeout(self, moment)

    def bring_forward(self, moment: float) -> None:
        """Let every open timeout end at a moment of the event loop's time, if it does not end before."""
        for timeout in self._open:
            timeout.moment = min(timeout.moment, moment)
        if self._open:
            self._set_timer(moment)

    def enter(self, timeout: "Timeout") -> None:
        """Open a timeout; see `Timeout`."""
        self._open.add(timeout)
        self._set_timer(timeout.moment)

    def leave(self, timeout: "Timeout") -> None:
        """Close a timeout; see `Timeout`."""
        self._open.discard(timeout)

    def _set_timer(self, moment: float) -> None:
        """Let the timer fire at a moment or before."""
        if self._timer is not None:
            if self._fires_at <= moment:
                return
            self._timer.cancel()
        self._fires_at = moment
        self._timer = asyncio.get_running_loop().call_at(moment, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        due = [each for each in self._open if each.moment <= now]
        for timeout in sorted(due, key=lambda each: each.moment):
            self.leave(timeout)
            timeout.expire()
        if self._open:
            self._set_timer(min(each.moment for each in self._open))


class Timeout:
    """A block that ends with TimeoutError at a moment, like that of `asyncio.timeout_at`.

    Args:
        timeouts: the timeouts of the event loop.
        moment: the moment, in the event loop's time.

    Attributes:
        moment: the same, as long as it is not brought forward.
        has_expired: whether the moment came before the end of the block.

    """

    __slots__ = ("_cancellations", "_task", "_timeouts", "has_expired", "moment")

    def __init__(self, timeouts: Timeouts, moment: float) -> None:
        self.moment = moment
        self._timeouts = timeouts
        self.has_expired = False

    def __enter__(self) -> "Timeout":
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[object] = task
        self._cancellations = task.cancelling()
        self._timeouts.enter(self)
        return self

    def bring_forward(self, moment: float) -> None:
        """Let the block end at a moment of the event loop's time, if it does not end before."""
        if moment < self.moment:
            self.moment = moment
            self._timeouts.enter(self)

    def expire(self) -> None:
        """Cancel the task. Its block turns the cancellation into TimeoutError."""
        self.has_expired = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timeouts.leave(self)
        # A task that its caller has cancelled as well stays cancelled.
        if self.has_expired and self._task.uncancel() <= self._cancellations and kind is asyncio.CancelledError:
            raise TimeoutError from error
