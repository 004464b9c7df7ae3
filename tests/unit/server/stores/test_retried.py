"""Reads are retried within limits; writes are sent once."""

import pytest
from holdfast_server.stores import retried
from holdfast_server.stores.base import ObjectNotFoundError, StoreAccessDeniedError, StoreUnavailableError
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.stores.retried import RetriedStore


class Failing(MemoryStore):
    """A store whose first requests fail, of whatever kind."""

    def __init__(self, failures, error=StoreUnavailableError):
        super().__init__()
        self.requests = 0
        self._failures = failures
        self._error = error

    def _fail(self):
        self.requests += 1
        if self.requests <= self._failures:
            raise self._error("busy")

    async def get(self, key, *, offset=0, length=None):
        self._fail()
        return await super().get(key, offset=offset, length=length)

    async def list(self, prefix, *, start_after="", limit=1000):
        self._fail()
        return await super().list(prefix, start_after=start_after, limit=limit)

    async def put_if_absent(self, key, data):
        self._fail()
        return await super().put_if_absent(key, data)

    def put(self, key):
        self._fail()
        return super().put(key)

    async def replace(self, key, data):
        self._fail()
        await super().replace(key, data)

    async def copy(self, source, target):
        self._fail()
        return await super().copy(source, target)

    async def delete(self, key):
        self._fail()
        await super().delete(key)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(retried, "_PAUSE_SECONDS", 0.0)


READS = {"get": lambda store: store.get("k", length=1), "list": lambda store: store.list("k", limit=1)}


async def write(store):
    async with store.put("new") as writer:
        await writer.finish()


WRITES = {
    "put_if_absent": lambda store: store.put_if_absent("k2", b""),
    "put": write,
    "replace": lambda store: store.replace("k", b""),
    "copy": lambda store: store.copy("k", "k2"),
    "delete": lambda store: store.delete("k"),
}


async def holding(failures, error=StoreUnavailableError):
    store = Failing(failures, error)
    await MemoryStore.put_if_absent(store, "k", b"data")
    return store


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_a_read_is_sent_up_to_five_times(read):
    store = await holding(4)
    await read(RetriedStore(store))
    assert store.requests == 5
    store = await holding(5)
    with pytest.raises(StoreUnavailableError, match="busy"):
        await read(RetriedStore(store))
    assert store.requests == 5


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_write_is_sent_once(write):
    store = await holding(1)
    with pytest.raises(StoreUnavailableError, match="busy"):
        await write(RetriedStore(store))
    assert store.requests == 1


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_a_refusal_is_not_retried(read):
    store = await holding(1, StoreAccessDeniedError)
    with pytest.raises(StoreAccessDeniedError):
        await read(RetriedStore(store))
    assert store.requests == 1


async def test_a_missing_object_is_not_retried():
    store = await holding(0)
    with pytest.raises(ObjectNotFoundError):
        await RetriedStore(store).get("other")
    assert store.requests == 1
