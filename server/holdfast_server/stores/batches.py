"""Blocking work handed to threads many pieces at a time.

Waking a thread and being woken by it costs more than a small file operation. So what is asked for while all
lanes are busy waits and then goes as one batch: a lone caller is served at once, and many share a wake-up, and
whatever else the work can share.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_LARGEST_BATCH = 64


class Batches(Generic[_Item, _Result]):
    """Runs items in batches, for the callers of one event loop.

    Args:
        work: does a batch, in a thread; a result or an exception for each item, in order.
        threads: where.
        lanes: how many batches may run at a time.

    """

    def __init__(
        self, work: Callable[[Sequence[_Item]], Sequence[_Result | Exception]], threads: Executor, lanes: int
    ) -> None:
        self._work = work
        self._threads = threads
        self._free_lanes = lanes
        self._waiting: list[tuple[_Item, asyncio.Future[_Result]]] = []

    async def run(self, item: _Item) -> _Result:
        """The result of an item. One that has begun goes on when its caller is cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        self._waiting.append((item, future))
        if self._free_lanes and len(self._waiting) == 1:
            # Behind what else arrives in this turn of the loop.
            loop.call_soon(self._start)
        return await future

    def _start(self) -> None:
        while self._waiting and self._free_lanes:
            batch = self._waiting[:_LARGEST_BATCH]
            del self._waiting[:_LARGEST_BATCH]
            self._free_lanes -= 1
            items = [item for item, _ in batch]
            done = asyncio.get_running_loop().run_in_executor(self._threads, self._work, items)
            done.add_done_callback(lambda done, batch=batch: self._finish(done, [future for _, future in batch]))  # type: ignore[misc]

    def _finish(
        self, done: asyncio.Future[Sequence[_Result | Exception]], futures: Sequence[asyncio.Future[_Result]]
    ) -> None:
        self._free_lanes += 1
        self._start()
        for future, result in zip(futures, done.result(), strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
