"""A wrapper of a store that loses requests on their way there or back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from holdfast_server.stores.base import ObjectStore, ObjectWriter, StoreAccessDeniedError, StoreUnavailableError

from tests.verification.faults.faults import Fault, Faults, StoreRequest

_Answer = TypeVar("_Answer")


class FaultyStore:
    """A store that forwards requests unless a fault strikes.

    Args:
        store: the real store.
        faults: the faults.

    """

    def __init__(self, store: ObjectStore, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    async def put_if_absent(self, key, data):
        return await self._struck(StoreRequest("PUT", key), lambda: self._store.put_if_absent(key, data))

    async def get(self, key, *, offset=0, length=None):
        request = StoreRequest("GET", key)
        fault = self._faults.of(request)
        found = await self._passed_on(fault, lambda: self._store.get(key, offset=offset, length=length))
        if found.data and fault is Fault.FLIPPED:
            return replace(found, data=self._faults.flipped(found.data))
        if found.data and fault is Fault.SHORT_BODY:
            data = self._faults.cut(found.data)
            return replace(found, data=data, size_bytes=offset + len(data))
        return found

    @asynccontextmanager
    async def put(self, key: str) -> AsyncIterator[ObjectWriter]:
        async with self._store.put(key) as writer:
            yield _FaultyWriter(self, writer, key)

    async def replace(self, key, data):
        return await self._struck(StoreRequest("PUT", key), lambda: self._store.replace(key, data))

    async def list(self, prefix, *, start_after="", limit=1000):
        call = lambda: self._store.list(prefix, start_after=start_after, limit=limit)  # noqa: E731
        return await self._struck(StoreRequest("LIST", prefix), call)

    async def copy(self, source: str, target: str) -> bool:
        return False

    async def delete(self, key):
        return await self._struck(StoreRequest("DELETE", key), lambda: self._store.delete(key))

    async def _struck(self, request: StoreRequest, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
        return await self._passed_on(self._faults.of(request), call)

    async def _passed_on(self, fault: Fault | None, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
        if fault is Fault.FORBIDDEN:
            raise StoreAccessDeniedError("the store refuses access")
        if fault in (Fault.CUT_BEFORE, Fault.THROTTLED):
            raise StoreUnavailableError("the store throttles, or the connection broke")
        if fault is Fault.SLOW:
            await asyncio.sleep(self._faults.slow_seconds)
        answer = await call()
        if fault in (Fault.CUT_AFTER, Fault.CUT_BODY):
            raise StoreUnavailableError("the connection broke")
        return answer


class _FaultyWriter:
    def __init__(self, store: FaultyStore, writer: ObjectWriter, key: str) -> None:
        self._store = store
        self._writer = writer
        self._key = key

    async def write(self, data):
        await self._writer.write(data)

    async def finish(self):
        await self._store._struck(StoreRequest("PUT", self._key), self._writer.finish)
