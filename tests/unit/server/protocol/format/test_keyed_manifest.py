"""The manifest of a store with MACs is accepted only from a server with one of its keys, and only as it was written."""

import json

import pytest
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.manifest import identify, open_layout, upgrade
from holdfast_server.stores.memory import MemoryStore

from tests.support.mac_keys import KEY, OTHER_KEY


async def new_store(*keys):
    store = MemoryStore()
    await open_layout(store, grace_seconds=60, mac_keys=keys)
    return store


async def refused(store, *keys):
    with pytest.raises(HoldfastError) as caught:
        await open_layout(store, mac_keys=keys)
    return caught.value


async def change(store, **fields):
    manifest = json.loads((await store.get("holdfast.json")).data) | fields
    kept = {name: value for name, value in manifest.items() if value is not None}
    await store.replace("holdfast.json", json.dumps(kept).encode())


async def test_a_store_that_is_made_with_keys_has_macs_from_the_start():
    store = await new_store(KEY)
    layout = await open_layout(store, mac_keys=[OTHER_KEY, KEY])
    assert layout.macs is not None
    assert (layout.macs.key_id, layout.marker_version, layout.grace_seconds) == (OTHER_KEY.key_id, 2, 60)
    assert not await upgrade(store, [KEY])
    assert json.loads((await store.get("holdfast.json")).data)["markerVersion"] == 3


async def test_a_server_without_keys_does_not_open_a_store_with_macs():
    store = await new_store(KEY)
    assert (await refused(store)).reason is Reason.LAYOUT_UNSUPPORTED
    await change(store, mac=None, macKeyId=None)
    assert (await refused(store)).reason is Reason.LAYOUT_UNSUPPORTED


@pytest.mark.parametrize(
    "fields",
    [
        {"graceSeconds": 1.0},
        {"graceSeconds": None},
        {"storeId": "other"},
        {"markerVersion": 2},
        {"fromTheFuture": 1},
        {"mac": "AAAA"},
        {"addingMacs": True},
    ],
)
async def test_a_changed_manifest_is_refused(fields):
    store = await new_store(KEY)
    await change(store, **fields)
    error = await refused(store, KEY)
    assert (error.reason, error.metadata["mac"]) == (Reason.CHECKPOINT_CORRUPTED, "wrong")


async def test_the_error_says_whether_the_mac_is_missing_or_of_an_unknown_key():
    store = await new_store(KEY)
    error = await refused(store, OTHER_KEY)
    assert (error.metadata["mac"], error.metadata["mac_key_id"]) == ("unknown_key", KEY.key_id)
    for fields in ({"mac": None}, {"macKeyId": None, "markerVersion": 2}):
        await change(store, **fields)
        assert (await refused(store, KEY)).metadata["mac"] == "missing"
    assert (await refused(await new_store(), KEY)).metadata["mac"] == "missing"


async def test_an_unreadable_key_id_is_an_unknown_key():
    store = await new_store(KEY)
    await change(store, macKeyId="zz")
    assert (await refused(store, KEY)).metadata["mac"] == "unknown_key"


async def test_a_running_server_notices_that_the_manifest_lost_its_mac():
    store = await new_store(KEY)
    before = await identify(store)
    await change(store, mac=None)
    assert await identify(store) != before
