"""Work that takes long, done in the caller's thread; `_async/blocking.py` has the same interface."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, TypeVar

_Result = TypeVar("_Result")


def in_thread(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Run a function here: a thread may block."""
    return function(*arguments)


def in_thread_if_large(values: Iterable[Any], function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Run a function here, whatever it works on."""
    return function(*arguments)


def to_end(function: Callable[..., object], *arguments: Any) -> None:
    """Run a function here, to its end."""
    function(*arguments)


class Steps:
    """Runs functions in a thread, one at a time, while the block prepares the next call."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="holdfast-load")
        self._running: Future[object] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._thread.shutdown()
        # An error of the last function explains what the block met.
        if error is None or isinstance(error, Exception):
            self._settle()

    def run(self, function: Callable[..., object], *arguments: Any) -> None:
        """Start a function once the one before has ended.

        Raises:
            Exception: the one before raised it.

        """
        self._settle()
        self._running = self._thread.submit(function, *arguments)

    def _settle(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.result()
