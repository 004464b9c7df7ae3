"""One step ahead: the next item of a stream is on its way while the last one is worked on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

_Item = TypeVar("_Item")


@asynccontextmanager
async def read_ahead(items: AsyncIterator[_Item]) -> AsyncIterator[AsyncIterator[_Item]]:
    """The same items, fetched one ahead. The fetching ends with the block.

    Args:
        items: where they come from; nobody else may read from it meanwhile.

    """
    # Holds one; one more is in the making. None ends it, an exception too.
    ready: asyncio.Queue[tuple[_Item] | Exception | None] = asyncio.Queue(maxsize=1)

    async def fetch() -> None:
        try:
            async for item in items:
                await ready.put((item,))
        except Exception as error:  # noqa: BLE001 - it is raised where the item is asked for
            await ready.put(error)
        else:
            await ready.put(None)

    async def fetched() -> AsyncIterator[_Item]:
        while True:
            found = await ready.get()
            if found is None:
                return
            if isinstance(found, Exception):
                try:
                    raise found
                finally:
                    # Or the error would refer to itself by this frame, and keep its call alive until a collection.
                    del found
            yield found[0]

    task = asyncio.create_task(fetch())
    try:
        yield fetched()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
