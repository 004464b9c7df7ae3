import json

import pytest
from holdfast_server.layout.v1.marker_pb2 import RecordBatch, StoredRecord
from holdfast_server.protocol.checkpoints import records
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.manifest import NoStoreError, identify, open_layout, upgrade
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.memory import MemoryStore

from tests.support.workflows import GRACE, KEYS, workflow

OLD = b'{\n  "layoutVersion": 1,\n  "graceSeconds": 60.0,\n  "storeId": "s",\n  "fromTheFuture": 1\n}'


async def old_store():
    store = MemoryStore()
    await store.put_if_absent("holdfast.json", OLD)
    return store


async def versions(run, prefix):
    return [run.log.store.objects.by_key[key][0][5] for key in sorted(await run.objects(prefix))]


async def test_a_new_store_has_the_newest_format_and_an_older_one_keeps_its_own():
    assert (await open_layout(MemoryStore())).marker_version == 2
    assert (await open_layout(await old_store())).marker_version == 1


async def test_an_upgrade_changes_the_format_and_neither_the_other_fields_nor_the_identity():
    store = await old_store()
    before = await identify(store)
    assert await upgrade(store)
    assert not await upgrade(store)
    layout = await open_layout(store)
    assert (layout.marker_version, layout.grace_seconds) == (2, 60.0)
    assert json.loads((await store.get("holdfast.json")).data) == {**json.loads(OLD), "markerVersion": 2}
    assert await identify(store) == before


async def test_a_place_without_a_store_is_not_upgraded():
    store = MemoryStore()
    with pytest.raises(NoStoreError):
        await upgrade(store)
    assert not store.objects.by_key


async def test_a_format_that_this_server_does_not_know_is_refused():
    store = MemoryStore()
    await store.put_if_absent(
        "holdfast.json", OLD.replace(b"fromTheFuture", b"markerVersion").replace(b"1\n}", b"4\n}")
    )
    for call in (open_layout, upgrade):
        with pytest.raises(HoldfastError) as caught:
            await call(store)
        assert caught.value.reason is Reason.LAYOUT_UNSUPPORTED


async def commit(run, checkpoint_id, request_id):
    spec = CheckpointSpec(Request(KEYS, request_id), "f", 1, checkpoint_id=checkpoint_id)
    return await save(run.log, spec, [await run.upload(checkpoint_id.encode(), inline=9)], deadline=run.deadline())


async def attach(run, stamp):
    batch = RecordBatch(
        checkpoint_id="c", request_id=f"a{stamp}", stamp=stamp, records=[StoredRecord(key=f"k{stamp}", data=b"d")]
    )
    await records.attach(run.log, KEYS, batch, deadline=run.deadline())


async def test_servers_before_and_after_an_upgrade_share_a_workflow_and_its_format_never_goes_back():
    run = workflow()
    older, newer = Log(run.log.store, grace_seconds=GRACE, marker_version=1), run.log
    run.log = older
    await commit(run, "a", "one")
    await attach(run, 1)
    assert await versions(run, "log/") == [1]
    run.log = newer
    await commit(run, "b", "two")
    await attach(run, 2)
    # This server was started before the upgrade.
    run.log = Log(run.log.store, grace_seconds=GRACE, marker_version=1)
    await commit(run, "c", "three")
    assert await versions(run, "log/") == [2, 2, 1]
    assert await versions(run, "rec/") == [1, 2]
    # Requests and ids of both formats are found.
    for checkpoint_id, request_id in (("a", "one"), ("b", "two"), ("c", "three")):
        assert (await commit(run, checkpoint_id, request_id)).replayed
        assert await run.load(checkpoint_id) == checkpoint_id.encode()
    found = await records.read(run.log.store, KEYS, "c")
    assert [each.key for each in found.records] == ["k1", "k2"]
