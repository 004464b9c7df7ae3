"""Threads for blocking work, which take what waits in batches.

Waking a thread and being woken by it costs more than a small read, and more than an insert within a transaction. So
items that arrive while every thread is busy wait, and the next free thread takes them together.

The threads are daemons: an interpreter can end while a store is open in it.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Lane(Generic[_Item, _Result]):
    """A line of waiting items and the threads that work on them, for callers of any event loop.

    Args:
        work: does a batch: a result or an exception for each item, in order.
        name: the name of its threads.
        threads: how many threads at most; they are started as they are needed.
        largest_batch: how many items a batch has at most.

    """

    def __init__(
        self,
        work: Callable[[Sequence[_Item]], Sequence[_Result | Exception]],
        *,
        name: str,
        threads: int = 1,
        largest_batch: int = 64,
    ) -> None:
        self._work = work
        self._name = name
        self._most_threads = threads
        self._largest_batch = largest_batch
        # Guards the three fields after it.
        self._lock = threading.Lock()
        self._waiting: list[tuple[_Item, asyncio.Future[_Result]]] = []
        self._idle = 0
        self._is_calling = False
        # Each put wakes one thread: True to work, False to end.
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._threads: list[tuple[threading.Thread, threading.Lock]] = []
        self._is_closed = False

    async def run(self, item: _Item) -> _Result:
        """Return the result of an item. Work that has begun continues if its caller is cancelled."""
        if self._is_closed:
            raise RuntimeError("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        with self._lock:
            self._waiting.append((item, future))
            needs_thread = not self._is_calling and (self._idle > 0 or len(self._threads) < self._most_threads)
            self._is_calling |= needs_thread
        if needs_thread:
            # Not before the calls that the loop runs next, which may bring items for the same batch.
            loop.call_soon(self._call_thread)
        return await future

    async def close(self) -> None:
        """End the threads, after the work that was given to them."""
        self._is_closed = True
        for _ in self._threads:
            self._wake.put(False)
        for thread, _ in self._threads:
            await asyncio.to_thread(thread.join)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the threads finish their batches, and keep them from taking others while the block runs."""
        locks = [lock for _, lock in self._threads]
        for lock in locks:
            lock.acquire()
        try:
            yield
        finally:
            for lock in locks:
                lock.release()

    def _call_thread(self) -> None:
        """Let a thread take what waits: an idle one, or a new one."""
        with self._lock:
            self._is_calling = False
            is_idle = self._idle > 0
            self._idle -= is_idle
        if is_idle:
            self._wake.put(True)
        elif len(self._threads) < self._most_threads:
            self._start_thread()

    def _start_thread(self) -> None:
        at_work = threading.Lock()
        thread = threading.Thread(target=self._run, args=(at_work,), name=self._name, daemon=True)
        self._threads.append((thread, at_work))
        thread.start()

    def _run(self, at_work: threading.Lock) -> None:
        while True:
            with self._lock:
                batch = self._waiting[: self._largest_batch]
                del self._waiting[: self._largest_batch]
                if not batch:
                    self._idle += 1
            if not batch:
                if not self._wake.get():
                    return
                continue
            with at_work:
                results = self._results(batch)
            for loop in {future.get_loop() for _, future in batch}:
                # A loop that was closed has no callers left.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(_deliver, loop, batch, results)
            del batch, results

    def _results(self, batch: Sequence[tuple[_Item, asyncio.Future[_Result]]]) -> Sequence[_Result | Exception]:
        try:
            return self._work([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - raised where each item was given
            return [error] * len(batch)


def _deliver(
    loop: asyncio.AbstractEventLoop,
    batch: Sequence[tuple[_Item, asyncio.Future[_Result]]],
    results: Sequence[_Result | Exception],
) -> None:
    for (_, future), result in zip(batch, results, strict=True):
        if future.get_loop() is not loop or future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
