"""A server in the test's own process, on a store that counts its requests and fails on demand.

The same store can be that of an embedded service, which runs on a loop of its own.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
from holdfast import AsyncClient
from holdfast_server import embedded
from holdfast_server.config import Config
from holdfast_server.lifecycle import serving
from holdfast_server.protocol.format.keys import MANIFEST_KEY
from holdfast_server.stores.base import ObjectStore, StoreUnavailableError
from holdfast_server.stores.file import FileStore


async def nothing(operation: str, key: str) -> None:
    pass


class WatchedStore:
    """A real store that counts requests and loses the requests and answers that a test chooses.

    Args:
        store: the store; None for one that an embedded service opens later.

    """

    def __init__(self, store: ObjectStore | None) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self.requests: Counter[str] = Counter()
        self.before: Callable[[str, str], Awaitable[None]] = nothing
        self.lose_request: Callable[[str, str], bool] = lambda operation, key: False
        self.lose_answer: Callable[[str, str], bool] = lambda operation, key: False

    async def put_if_absent(self, key, data):
        if key == MANIFEST_KEY:
            # After a failure the server checks whether it can write to its store.
            return await self._store.put_if_absent(key, data)
        return await self._watched("put_if_absent", key, lambda: self._store.put_if_absent(key, data))

    async def get(self, key, *, offset=0, length=None):
        if key == MANIFEST_KEY:
            # The server reads it from time to time, whatever the test does.
            return await self._store.get(key, offset=offset, length=length)
        return await self._watched("get", key, lambda: self._store.get(key, offset=offset, length=length))

    async def replace(self, key, data):
        return await self._watched("replace", key, lambda: self._store.replace(key, data))

    async def list(self, prefix, *, start_after="", limit=1000):
        call = lambda: self._store.list(prefix, start_after=start_after, limit=limit)  # noqa: E731
        return await self._watched("list", prefix, call)

    async def delete(self, key):
        await self._watched("delete", key, lambda: self._store.delete(key))

    async def copy(self, source, target):
        return await self._watched("copy", target, lambda: self._store.copy(source, target))

    def put(self, key):
        self.requests["put"] += 1
        return self._store.put(key)

    async def _prepare(self, operation, key):
        """Run `before` on the loop of the test."""
        if self.before is nothing or asyncio.get_running_loop() is self._loop:
            await self.before(operation, key)
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.before(operation, key), self._loop))

    @asynccontextmanager
    async def open(self, path, *, access):
        """Take the place of `FileStore.open` in an embedded service."""
        async with FileStore.open(path, access=access) as self._store:
            yield self

    def suspended(self):
        return self._store.suspended()

    async def _watched(self, operation, key, call):
        self.requests[operation] += 1
        await self._prepare(operation, key)
        if self.lose_request(operation, key):
            raise StoreUnavailableError("lost on the way there")
        answer = await call()
        if self.lose_answer(operation, key):
            raise StoreUnavailableError("lost on the way back")
        return answer


@dataclass
class Served:
    target: str
    store: WatchedStore
    folder: Path


@asynccontextmanager
async def serving_watched(
    folder: Path,
    *,
    listen: str = "127.0.0.1:0",
    around: Callable[[ObjectStore], ObjectStore] = lambda store: store,
    **settings: int,
) -> AsyncIterator[Served]:
    config = Config(listen=listen, store=(folder / "store").as_uri(), drain_seconds=1, **settings)
    async with FileStore.open(folder / "store") as real, serving(config, around(store := WatchedStore(real))) as port:
        store.requests.clear()
        yield Served(f"127.0.0.1:{port}", store, folder / "store")


@asynccontextmanager
async def embedding_watched(folder: Path, **settings: object) -> AsyncIterator[Served]:
    """Let embedded clients of this process use a watched store. The target that it yields is a folder."""
    store = WatchedStore(None)
    target = (folder / "store").as_uri()
    environment = {f"HOLDFAST_{name.upper()}": str(value) for name, value in settings.items()}
    with patch.object(embedded, "FileStore", store), patch.dict(os.environ, environment):
        async with AsyncClient(target) as client:
            # The first call opens the folder, which stays open.
            await client.capabilities()
            store.requests.clear()
            yield Served(target, store, folder / "store")


def settings_of(test: pytest.Item) -> dict[str, bool]:
    """Return the settings of the server that a test's markers request."""
    return {"deltas": False} if test.get_closest_marker("without_deltas") else {}
