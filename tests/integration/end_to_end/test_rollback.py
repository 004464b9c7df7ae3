"""Attacks by a program that can write to the store: a client that knows the workflow notices each of them."""

import io
import shutil
from contextlib import AsyncExitStack, asynccontextmanager

import holdfast
import pytest
from holdfast import Head, RolledBackError
from holdfast.adapters.langgraph import HoldfastSaver
from holdfast_server.config import Config
from holdfast_server.lifecycle import serving
from holdfast_server.open_store import open_store
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.stores.listing import list_all
from langgraph.checkpoint.base import empty_checkpoint

from tests.support.both_clients import ClientInThreads

FORMAT = holdfast.Format("test", 1)
LARGE = bytes(range(251)) * 8_000


class Place:
    """A store with a server that is started again, with an empty cache, at the same address."""

    def __init__(self, url):
        self.url = url
        self.port = 0

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self):
        config = Config(listen=self.target, store=self.url, drain_seconds=1)
        async with open_store(self.url, is_traced=False) as store, serving(config, store) as self.port:
            yield

    async def markers(self):
        """Return all markers by their keys."""
        async with open_store(self.url, is_traced=False) as store:
            return {key: await read_whole(store, key) for key in await _keys(store)}

    async def set_back(self, markers):
        """Leave these markers and no others."""
        async with open_store(self.url, is_traced=False) as store:
            for key in set(await _keys(store)) - set(markers):
                await store.delete(key)
            for key, frame in markers.items():
                await store.replace(key, frame)


async def _keys(store):
    return [each.key async for each in list_all(store, "ns/") if "/log/" in each.key]


@pytest.fixture
def place(store_url):
    return Place(store_url)


@pytest.fixture(params=[holdfast.AsyncClient, ClientInThreads])
def connect(request):
    return request.param


async def save(client, checkpoint_id, data=b"x"):
    return await client.save("n", "w", data, format=FORMAT, checkpoint_id=checkpoint_id)


async def drain(found):
    return [each async for each in found]


# Each call that is answered with a head, or with an error that names one. They leave the log short.
CALLS = {
    "load": lambda client: client.load("n", "w"),
    "load by id": lambda client: client.load("n", "w", "c1"),
    "load of a removed one": lambda client: client.load("n", "w", "c9"),
    "load with fallback": lambda client: client.load("n", "w", fallback=True),
    "load to a file": lambda client: client.load_to("n", "w", io.BytesIO()),
    "resume": lambda client: client.resume("n", "w", format=FORMAT),
    "resume by a handle": lambda client: client.workflow("n", "w").resume(format=FORMAT),
    "validate": lambda client: client.validate("n", "w"),
    "list": lambda client: drain(client.list("n", "w")),
    "history": lambda client: drain(client.history("n", "w")),
    "copy": lambda client: client.copy_workflow("n", "w", "copy"),
    "records with an epoch": lambda client: client.attach("n", "w", "c1", [holdfast.Record("k", b"r")], epoch=1),
    "save that expects a revision": lambda client: client.save("n", "w", b"x", format=FORMAT, expected_revision=9),
    "save": lambda client: save(client, "new"),
    "save of much": lambda client: save(client, "large", LARGE),
    "acquire": lambda client: client.acquire_writer("n", "w"),
    "prune": lambda client: client.prune("n", "w", keep_last=9),
    "delete": lambda client: client.delete("n", "w", "c1"),
    "delete of a removed one": lambda client: client.delete("n", "w", "c9"),
    "delete by filter": lambda client: client.delete_checkpoints("n", "w", labels={"a": "b"}),
    "delete the workflow": lambda client: client.delete_workflow("n", "w"),
    "load after that": lambda client: client.load("n", "w"),
}


async def test_every_call_notices_that_the_newest_markers_were_removed(place, connect):
    async with place.serving(), connect(place.target, timeout=20) as client:
        await save(client, "c1", LARGE)
        older = await place.markers()
        for number in range(2, 40):
            await save(client, f"c{number}")
        newest = client.head("n", "w")
    assert newest.revision == 39
    await place.set_back(older)
    async with place.serving(), connect(place.target, timeout=20) as client:
        for name, call in CALLS.items():
            # As it is after a restart of the caller, which has kept the head.
            client.forget_head("n", "w")
            with pytest.raises(RolledBackError):
                await client.validate("n", "w", depth="marker", not_before=newest)
            with pytest.raises(RolledBackError) as caught:
                await call(client)
            metadata = caught.value.metadata
            assert (metadata["seen_revision"], metadata["seen_digest"]) == ("39", newest.digest.hex()), name
            assert 0 < int(metadata["head_revision"]) < 39, name


async def test_a_client_notices_it_when_the_server_was_restarted_under_it(place):
    async with place.serving():
        client = holdfast.AsyncClient(place.target, timeout=20)
        await save(client, "c1")
        older = await place.markers()
        await save(client, "c2")
    await place.set_back(older)
    async with client, place.serving():
        with pytest.raises(RolledBackError, match="its head is revision 1, and was revision 2"):
            await client.resume("n", "w", format=FORMAT)


async def test_a_log_that_was_removed_as_a_whole_is_noticed_and_not_begun_in_silence(place):
    async with place.serving():
        client = holdfast.AsyncClient(place.target, timeout=20)
        await save(client, "c1")
        await save(client, "c2")
    await place.set_back({})
    async with client, place.serving():
        with pytest.raises(RolledBackError, match="it has no entry any more") as caught:
            await client.resume("n", "w", format=FORMAT)
        assert caught.value.metadata["head_revision"] == "0"
        with pytest.raises(RolledBackError):
            await client.validate("n", "w")
        with pytest.raises(RolledBackError):
            await save(client, "c3")


async def test_a_marker_that_another_history_had_is_noticed(place):
    async with place.serving(), holdfast.AsyncClient(place.target, timeout=20) as client:
        await save(client, "c1")
        common = await place.markers()
        await save(client, "a")
        other = await place.markers()
    await place.set_back(common)
    async with place.serving(), holdfast.AsyncClient(place.target, timeout=20) as client:
        newest = (await save(client, "b")).head
    await place.set_back(other)
    async with place.serving(), holdfast.AsyncClient(place.target, timeout=20) as client:
        with pytest.raises(RolledBackError, match="its head, revision 2, is another entry"):
            await client.load("n", "w", not_before=newest)
        client.forget_head("n", "w")
        assert (await client.load("n", "w")).checkpoint_id == "a"


async def test_an_older_copy_of_a_folder_is_noticed(tmp_path, connect):
    place = Place((tmp_path / "store").as_uri())
    async with place.serving(), connect(place.target, timeout=20) as client:
        await save(client, "c1", LARGE)
    shutil.copytree(tmp_path / "store", tmp_path / "backup")
    async with place.serving(), connect(place.target, timeout=20) as client:
        kept = str((await save(client, "c2", LARGE)).head)
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "backup").rename(tmp_path / "store")
    async with place.serving(), connect(place.target, timeout=20) as client:
        with pytest.raises(RolledBackError):
            await client.load("n", "w", not_before=Head.parse(kept))
    # And by an embedded client.
    async with connect(place.url, timeout=20) as client:
        with pytest.raises(RolledBackError):
            await client.load_to("n", "w", io.BytesIO(), not_before=Head.parse(kept))


async def test_an_adapter_notices_it_by_the_memory_of_its_client(place):
    graph = {"configurable": {"thread_id": "w", "checkpoint_ns": ""}}
    async with AsyncExitStack() as stack:
        async with place.serving():
            saver = await stack.enter_async_context(HoldfastSaver.from_target(place.target, namespace="n"))
            config = await saver.aput(graph, empty_checkpoint(), {"source": "input", "step": -1}, {})
            older = await place.markers()
            await saver.aput(config, empty_checkpoint(), {"source": "loop", "step": 0}, {})
        await place.set_back(older)
        async with place.serving():
            with pytest.raises(RolledBackError):
                await saver.aget_tuple(graph)


async def test_a_handover_between_servers_is_no_rollback(store_url):
    one, other = Place(store_url), Place(store_url)
    async with (
        one.serving(),
        other.serving(),
        holdfast.AsyncClient(one.target) as first,
        holdfast.AsyncClient(other.target) as second,
    ):
        for turn in range(10):
            client, rival = (first, second) if turn % 2 else (second, first)
            await save(client, f"c{turn}")
            assert (await rival.load("n", "w")).head == client.head("n", "w")
            await rival.prune("n", "w", keep_last=2)
            await client.validate("n", "w", depth="marker")
