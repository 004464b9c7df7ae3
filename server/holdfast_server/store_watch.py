"""Watches that the store of a running server works and is still the one that the server opened.

A folder may be emptied, moved or mounted over, and a bucket may be emptied. The server would still answer loads from
memory, and the next save would continue a log that no longer exists. So the store's manifest is read at intervals, and
soon after a failure. If it is gone or another one, the server refuses every call until it is restarted. While the
manifest cannot be read, or cannot be written after a call has failed, the server is not ready.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import MANIFEST_KEY
from holdfast_server.protocol.format.manifest import identify
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, StoreError, StoreGoneError, described

_LOG = logging.getLogger("holdfast.server")
INTERVAL_SECONDS = 5.0
# While the store fails.
RETRY_SECONDS = 1.0
# A store that does not answer for so long has failed.
_CHECK_SECONDS = 5.0
# A check that finds another store is repeated: a file system that is being mounted may show anything for a moment.
_CHECKS = 3
_PAUSE_SECONDS = 0.1


class _State(Enum):
    """The state of a store according to a check."""

    WORKS = 1
    FAILS = 2
    REPLACED = 3


class StoreWatch:
    """Checks a store's identity and whether it works.

    Args:
        store: the store.
        identity: the identity that the store had when the server opened it.
        on_replaced: called once with the error that every call gets from then on.
        on_ready: called with whether the store works, each time that this changes.

    """

    def __init__(
        self,
        store: ObjectStore,
        identity: bytes,
        on_replaced: Callable[[HoldfastError], None],
        on_ready: Callable[[bool], Awaitable[None]],
    ) -> None:
        self._store = store
        self._identity = identity
        self._on_replaced = on_replaced
        self._on_ready = on_ready
        self._soon = asyncio.Event()
        self._is_ready = True

    def check_soon(self) -> None:
        """Check the store now rather than at the end of the interval, because an unexpected failure occurred."""
        self._soon.set()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch the store while the block runs."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_SECONDS if self._is_ready else RETRY_SECONDS):
                    await self._soon.wait()
            in_doubt = self._soon.is_set() or not self._is_ready
            self._soon.clear()
            state, failure = await self._check(in_doubt=in_doubt)
            if state is _State.REPLACED:
                break
            await self._set_ready(state is _State.WORKS, failure)
        message = "the store was emptied or replaced while the server ran"
        _LOG.error(f"{message}; every call is refused until the server is restarted")
        self._on_replaced(HoldfastError(Reason.STORE_REPLACED, message))
        await self._on_ready(False)

    async def _set_ready(self, is_ready: bool, failure: str) -> None:
        if is_ready == self._is_ready:
            return
        self._is_ready = is_ready
        if is_ready:
            _LOG.info("the store works again; the server is ready")
        else:
            _LOG.warning("the store fails; the server is not ready", extra={"error": failure})
        await self._on_ready(is_ready)

    async def _check(self, *, in_doubt: bool) -> tuple[_State, str]:
        """Return the store's state and why it fails. If in doubt, check as well that it can be written."""
        for _ in range(_CHECKS):
            try:
                async with asyncio.timeout(_CHECK_SECONDS):
                    if await identify(self._store) == self._identity:
                        return await self._check_write() if in_doubt else (_State.WORKS, "")
            except (ObjectNotFoundError, StoreGoneError):
                pass
            except TimeoutError:
                return _State.FAILS, f"no answer within {_CHECK_SECONDS:g} seconds"
            except (StoreError, HoldfastError) as error:
                return _State.FAILS, described(error)
            await asyncio.sleep(_PAUSE_SECONDS)
        return _State.REPLACED, ""

    async def _check_write(self) -> tuple[_State, str]:
        # Changes nothing, because the manifest exists. If it was removed since it was read, the store was replaced.
        is_new = await self._store.put_if_absent(MANIFEST_KEY, self._identity)
        return (_State.REPLACED, "") if is_new else (_State.WORKS, "")
