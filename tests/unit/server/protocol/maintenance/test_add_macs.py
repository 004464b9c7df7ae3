"""A store gets MACs once, whatever it holds and wherever the run is cut off. Then no object without one is accepted."""

import json

import pytest
from holdfast_server.layout.v1.marker_pb2 import RecordBatch, StoredRecord
from holdfast_server.protocol.checkpoints import records
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keyed_store import KeyedStore
from holdfast_server.protocol.format.keys import has_mac
from holdfast_server.protocol.format.manifest import identify, open_layout
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.add_macs import HasMacsError, add_macs
from holdfast_server.stores.memory import MemoryStore

from tests.support.mac_keys import KEY, OTHER_KEY
from tests.support.workflows import GRACE, KEYS, Workflow, check


class KilledError(Exception):
    """The process is killed."""


class CutOff(MemoryStore):
    """A store whose process is killed before one of its replacements."""

    countdown = 0

    async def replace(self, key, data):
        self.countdown -= 1
        if self.countdown == 0:
            raise KilledError
        await super().replace(key, data)


@pytest.fixture
async def store():
    """Return a store without MACs that has objects of all kinds, and foreign ones among them."""
    store = CutOff()
    layout = await open_layout(store, grace_seconds=GRACE)
    run = Workflow(Log(store, grace_seconds=GRACE, marker_version=layout.marker_version))
    await run.save_fresh(*(f"new{number}" for number in range(66)))
    await run.save(checkpoint_id="chosen", data=b"x" * 300)
    batch = RecordBatch(checkpoint_id="chosen", request_id="r", stamp=1, records=[StoredRecord(key="k", data=b"d")])
    await records.attach(run.log, KEYS, batch, deadline=run.deadline())
    await store.put_if_absent(f"{KEYS.prefix}foreign", b"foreign")
    await store.put_if_absent("ns/foreign", b"foreign")
    return store


async def opened(store, *keys):
    """Return the workflow as a server with keys sees it."""
    layout = await open_layout(store, mac_keys=keys or (KEY,))
    return Workflow(Log(KeyedStore(store, layout.macs), grace_seconds=GRACE, marker_version=layout.marker_version))


def bare(store):
    """Return the key paths of the objects that should have a MAC and have none."""
    foreign = (f"{KEYS.prefix}foreign", "ns/foreign")
    objects = store.objects.by_key.items()
    return [key for key, (data, _) in objects if has_mac(key) and key not in foreign and data[:6] != b"HFMK\0\3"]


async def require_whole(store):
    run = await opened(store)
    assert bare(store) == []
    assert await run.load("new3") == b"x"
    assert await run.load("chosen") == b"x" * 300
    assert [each.key for each in (await records.read(run.log.store, KEYS, "chosen")).records] == ["k"]
    checked, findings = await check(run)
    assert {each.key for each in findings} <= {f"{KEYS.prefix}foreign", "ns/foreign"}
    assert (checked.checkpoints, checked.records) == (67, 1)
    await run.save(checkpoint_id="later")
    assert bare(store) == []


async def test_every_object_gets_a_mac_and_stays_what_it_was(store):
    before = await identify(store)
    objects = len(bare(store))
    added = await add_macs(store, [KEY], first=True)
    assert (added.objects, added.added, added.renewed, added.flawed) == (objects, objects, 0, 0)
    assert objects > 66 + 2
    assert await identify(store) != before
    assert store.objects.by_key[f"{KEYS.prefix}foreign"][0] == b"foreign"
    await require_whole(store)


async def test_a_first_run_that_was_killed_anywhere_is_begun_again_and_no_server_starts_in_between(store):
    for moment in (1, 2, 3, 5, 20):
        store.countdown = moment
        with pytest.raises(KilledError):
            await add_macs(store, [KEY], first=True)
        for keys in ((), (KEY,)):
            if moment > 1 or keys:
                with pytest.raises(HoldfastError):
                    await open_layout(store, mac_keys=keys)
        if moment > 1:
            with pytest.raises(HoldfastError, match="begin it again"):
                await add_macs(store, [KEY], first=False)
    added = await add_macs(store, [KEY], first=True)
    assert 0 < added.added < added.objects
    await require_whole(store)


async def test_later_runs_renew_macs_of_older_keys_and_keep_the_chain(store):
    await add_macs(store, [KEY], first=True)
    before = await identify(store)
    assert (await add_macs(store, [KEY], first=False)).renewed == 0
    assert await identify(store) == before
    added = await add_macs(store, [OTHER_KEY, KEY], first=False)
    assert (added.renewed, added.flawed) == (added.objects, 0)
    assert await identify(store) != before
    run = await opened(store, OTHER_KEY)
    _, findings = await check(run)
    assert {each.key for each in findings} <= {f"{KEYS.prefix}foreign", "ns/foreign"}


async def test_a_second_first_run_is_refused_so_that_it_accepts_nothing_that_was_forged(store):
    await add_macs(store, [KEY], first=True)
    with pytest.raises(HasMacsError):
        await add_macs(store, [KEY], first=True)


async def test_a_later_run_reports_flawed_objects_and_leaves_them_alone(store):
    await add_macs(store, [KEY], first=True)
    path = KEYS.marker(2)
    data, modified = store.objects.by_key[path]
    stripped = data[44:]
    store.objects.by_key[path] = (stripped, modified)
    flawed = []
    added = await add_macs(store, [OTHER_KEY, KEY], first=False, on_flawed=lambda key, what: flawed.append(key))
    assert (added.flawed, flawed) == (1, [path])
    assert store.objects.by_key[path][0] == stripped


async def test_a_run_on_a_store_without_macs_needs_to_be_a_first_one(store):
    with pytest.raises(HoldfastError, match="--first") as caught:
        await add_macs(store, [KEY], first=False)
    assert caught.value.reason is Reason.CHECKPOINT_CORRUPTED
    assert "mac" not in json.loads((await store.get("holdfast.json")).data)
