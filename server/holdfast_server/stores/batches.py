"""Blocking work handed on many pieces at a time.

Waking a thread or a process and being woken by it costs more than a small file operation. So what is asked for
while all lanes are busy waits and then goes as one batch: a lone caller is served at once, and many share a
wake-up, and whatever else the work can share.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_LARGEST_BATCH = 64

Work = Callable[[Sequence[_Item]], Awaitable[Sequence[_Result | Exception]]]


class Batches(Generic[_Item, _Result]):
    """Runs items in batches, for the callers of one event loop.

    Args:
        lanes: each does a batch at a time: a result or an exception for each item, in order.

    """

    def __init__(self, lanes: Sequence[Work[_Item, _Result]]) -> None:
        self._free_lanes = list(lanes)
        self._waiting: list[tuple[_Item, asyncio.Future[_Result]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, item: _Item) -> _Result:
        """Return the result of an item. An item that has begun continues if its caller is cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        self._waiting.append((item, future))
        if self._free_lanes and len(self._waiting) == 1:
            # Behind what else arrives in this turn of the loop.
            loop.call_soon(self._start)
        return await future

    async def close(self) -> None:
        """Wait for what has begun."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self) -> None:
        while self._waiting and self._free_lanes:
            batch = self._waiting[:_LARGEST_BATCH]
            del self._waiting[:_LARGEST_BATCH]
            task = asyncio.create_task(self._run(self._free_lanes.pop(), batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, lane: Work[_Item, _Result], batch: Sequence[tuple[_Item, asyncio.Future[_Result]]]) -> None:
        results: Sequence[_Result | Exception]
        try:
            results = await lane([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - it is raised where each item was asked for
            results = [error] * len(batch)
        self._free_lanes.append(lane)
        self._start()
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
