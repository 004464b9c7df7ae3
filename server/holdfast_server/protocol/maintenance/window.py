"""Concurrent work on many items, with results in the order of the items."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


async def in_order(
    items: AsyncIterator[_Item],
    work: Callable[[_Item], Coroutine[Any, Any, _Result]],
    *,
    at_once: int,
    ahead: int,
) -> AsyncGenerator[_Result]:
    """Yield the results of work on items, in the order of the items.

    A slow item does not hold up others, up to `ahead` of them. Close the generator to cancel the work in progress.

    Args:
        items: the items.
        work: the work on an item. An error is raised in the place of the result.
        at_once: how many items are worked on at a time.
        ahead: how many results may wait for a slow item before them.

    """
    begun: deque[asyncio.Task[_Result]] = deque()
    free = asyncio.Semaphore(at_once)
    try:
        async for item in items:
            await free.acquire()
            begun.append(asyncio.create_task(work(item)))
            begun[-1].add_done_callback(lambda _: free.release())
            while begun and (begun[0].done() or len(begun) > ahead):
                yield await begun[0]
                begun.popleft()
        while begun:
            yield await begun[0]
            begun.popleft()
    finally:
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
