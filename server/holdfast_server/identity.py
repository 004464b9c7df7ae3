"""Watches that the store under a running server stays the one that the server was opened on.

A folder may be emptied, moved or mounted over, and a bucket may be emptied. What the server has in memory would still
answer loads then, and the next save would continue a log that is gone. So the store's manifest is read now and then,
and soon after a failure; once it is gone or another one, the server refuses every call until it is restarted.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.layout import identify
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, StoreError

_LOG = logging.getLogger("holdfast.server")
INTERVAL_SECONDS = 5.0
# A look that finds another store is repeated, since a file system that is being mounted may show anything for a moment.
_LOOKS = 3
_PAUSE_SECONDS = 0.1


class StoreWatch:
    """Looks at a store's identity.

    Args:
        store: the store.
        identity: what it was when the server opened it.
        on_replaced: called once with the error that every call gets from then on.

    """

    def __init__(self, store: ObjectStore, identity: bytes, on_replaced: Callable[[HoldfastError], None]) -> None:
        self._store = store
        self._identity = identity
        self._on_replaced = on_replaced
        self._soon = asyncio.Event()

    def look_soon(self) -> None:
        """Look without waiting for the interval to pass: something failed that should not."""
        self._soon.set()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look while the block runs."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _watch(self) -> None:
        is_same = True
        while is_same:
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_SECONDS):
                    await self._soon.wait()
            self._soon.clear()
            is_same = await self._is_same()
        message = "the store was emptied or replaced while the server ran"
        _LOG.error(f"{message}; every call is refused until the server is restarted")
        self._on_replaced(HoldfastError(Reason.STORE_REPLACED, message))

    async def _is_same(self) -> bool:
        for _ in range(_LOOKS):
            try:
                if await identify(self._store) == self._identity:
                    return True
            except ObjectNotFoundError:
                pass
            except (StoreError, HoldfastError):
                # A store that cannot be read is reported by the calls that need it.
                return True
            await asyncio.sleep(_PAUSE_SECONDS)
        return False
