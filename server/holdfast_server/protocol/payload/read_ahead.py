"""Read-ahead by one item: the next item of a stream is fetched while the caller works on the last one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

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
