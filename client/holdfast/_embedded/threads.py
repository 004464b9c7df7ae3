"""Threads for blocking work that serve until the process has ended."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_Work = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class DaemonThreads(ThreadPoolExecutor):
    """An executor whose threads end with the process.

    The threads of `concurrent.futures` refuse work as soon as the main thread has ended, while other threads and
    functions registered with `atexit` may still use a client.

    Args:
        limit: how many threads to start at most.
        name: the beginning of the threads' names.

    """

    def __init__(self, limit: int, name: str) -> None:
        # asyncio accepts a ThreadPoolExecutor only. The threads of the base class are never started.
        super().__init__(limit, name)
        self._limit = limit
        self._name = name
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        # One for each thread, held while it works.
        self._at_work: list[threading.Lock] = []

    def submit(self, function: Callable[..., _Result], /, *arguments: Any, **options: Any) -> "Future[_Result]":
        """Run a function in a thread. Called by one thread at a time."""
        future: Future[_Result] = Future()
        self._work.put((future, function, arguments, options))
        if not self._idle.acquire(blocking=False) and len(self._at_work) < self._limit:
            at_work = threading.Lock()
            self._at_work.append(at_work)
            name = f"{self._name}-{len(self._at_work)}"
            threading.Thread(target=self._serve, args=(at_work,), name=name, daemon=True).start()
        return future

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the threads finish what they do, and keep them from more while the block runs."""
        with ExitStack() as stack:
            for at_work in self._at_work:
                stack.enter_context(at_work)
            yield

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads when they have done the work that was submitted. Does not wait for them."""
        for _ in self._at_work:
            self._work.put(None)

    def _serve(self, at_work: threading.Lock) -> None:
        while (work := self._work.get()) is not None:
            with at_work:
                _do(*work)
            del work
            self._idle.release()


def _do(future: Future[Any], function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function(*arguments, **options)
    except BaseException as error:  # noqa: BLE001 - raised where the future is awaited
        future.set_exception(error)
    else:
        future.set_result(result)
