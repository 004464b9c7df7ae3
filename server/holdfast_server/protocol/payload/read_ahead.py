"""Read-ahead: the next items are fetched while the caller works on the last one."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, TypeVar

_Item = TypeVar("_Item")


@asynccontextmanager
async def read_ahead(items: AsyncIterator[_Item]) -> AsyncIterator[AsyncIterator[_Item]]:
    """Yield an iterator over the same items that fetches one item ahead, until the block ends.

    Args:
        items: the items. They must not be read elsewhere during the block.

    """
    # Holds one item, while one more is fetched. None or an exception marks the end.
    ready: asyncio.Queue[tuple[_Item] | Exception | None] = asyncio.Queue(maxsize=1)

    async def fetch() -> None:
        try:
            async for item in items:
                await ready.put((item,))
        except Exception as error:  # noqa: BLE001 - raised by the iterator that the caller reads
            await ready.put(error)
        else:
            await ready.put(None)

    async def fetched() -> AsyncIterator[_Item]:
        while True:
            item = await ready.get()
            if item is None:
                return
            if isinstance(item, Exception):
                try:
                    raise item
                finally:
                    # Otherwise the error would refer to itself through this frame, and stay until cycles are collected.
                    del item
            yield item[0]

    task = asyncio.create_task(fetch())
    try:
        yield fetched()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def in_order(
    fetch: Callable[[int], Coroutine[Any, Any, _Item]], places: Sequence[int], ahead: int
) -> AsyncGenerator[_Item]:
    """Yield the item of each place, in order. The fetches run concurrently.

    Args:
        fetch: fetches the item of a place.
        places: the places.
        ahead: how many fetches are in progress, or done, while the caller works on an item. At least 1.

    """
    if len(places) == 1:
        yield await fetch(places[0])
        return
    fetches: deque[asyncio.Task[_Item]] = deque()
    waiting = iter(places)
    try:
        while True:
            fetches.extend(asyncio.create_task(fetch(place)) for place in islice(waiting, ahead + 1 - len(fetches)))
            if not fetches:
                return
            await asyncio.wait([fetches[0]])
            # No variable holds the item here: it may be large.
            yield fetches.popleft().result()
    finally:
        for task in fetches:
            task.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
