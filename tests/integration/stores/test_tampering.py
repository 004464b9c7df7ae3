"""On every kind of store, objects that somebody else wrote, moved or changed are damage, and nothing else is."""

from hashlib import sha256

import pytest
from crc32c import crc32c
from holdfast_server.protocol.checkpoints import load
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.format.macs import OVERHEAD_BYTES
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.stores.listing import list_all

from tests.support.mac_keys import OTHER_KEY, keyed
from tests.support.workflows import Workflow

GRACE = 3600.0
HERE, THERE = WorkflowKeys("n", "w"), WorkflowKeys("other", "w")


def server(store, keys, *mac_keys):
    return Workflow(Log(keyed(store, *mac_keys), grace_seconds=GRACE), keys)


@pytest.fixture
async def workflows(store):
    """Return the same two checkpoints in each of two namespaces: `a` with a blob, then `b` within its marker."""
    both = {}
    for keys in (HERE, THERE):
        run = server(store, keys)
        await run.save(f"blob of {keys.namespace}".encode() * 100, checkpoint_id="a", labels={"of": keys.namespace})
        inline = await run.upload(keys.namespace.encode(), inline=100)
        await run.save(parts=[inline], checkpoint_id="b", labels={"of": keys.namespace})
        both[keys] = run
    return both


async def raw(store, path):
    return (await store.get(path)).data


async def require_noticed(store, flaw, *, served=b"n"):
    """Check that the newest checkpoint of HERE is damaged with a flaw, or is still served."""
    run = server(store, HERE)
    if flaw is None:
        assert await run.load() == served
        return
    with pytest.raises(HoldfastError) as caught:
        await run.load()
    assert (caught.value.reason, caught.value.metadata.get("mac", "")) == (Reason.CHECKPOINT_CORRUPTED, flaw)
    reported = []
    await fsck(run.log, on_finding=lambda finding: reported.append(finding.key))
    assert any(each.startswith(HERE.prefix) for each in reported)
    assert not any(each.startswith(THERE.prefix) for each in reported)
    with pytest.raises(HoldfastError):
        await server(store, HERE).save()
    before = [each.key async for each in list_all(store, "ns/")]
    await sweep(run.log, Policies({}))
    assert [each.key async for each in list_all(store, "ns/")] == before


async def forged(path, data):
    """Return the frame of a marker with other content, and a checksum that fits its key path."""
    marker = marker_codec.decode(data[OVERHEAD_BYTES:], path)
    for part in marker.parts:
        part.inline = b"forged"
        part.size_bytes, part.sha256, part.crc32c = 6, sha256(b"forged").digest(), crc32c(b"forged")
    return marker_codec.encode(marker, path)


async def test_a_marker_without_its_mac_is_noticed(store, workflows):
    path = HERE.marker(2)
    await store.replace(path, (await raw(store, path))[OVERHEAD_BYTES:])
    await require_noticed(store, "missing")


async def test_a_forged_marker_with_a_valid_checksum_is_noticed(store, workflows):
    path = HERE.marker(2)
    data = await raw(store, path)
    for head, flaw in ((b"", "missing"), (data[:OVERHEAD_BYTES], "wrong")):
        await store.replace(path, head + await forged(path, data))
        await require_noticed(store, flaw)


async def test_a_marker_of_a_foreign_key_is_noticed(store, workflows):
    path = HERE.marker(2)
    await keyed(store, OTHER_KEY).replace(path, (await raw(store, path))[OVERHEAD_BYTES:])
    await require_noticed(store, "unknown_key")


async def test_a_forged_head_above_the_log_is_noticed_and_a_repair_ends_it(store, workflows):
    await store.replace(HERE.marker(3), await forged(HERE.marker(2), await raw(store, HERE.marker(2))))
    await require_noticed(store, "missing")
    run = server(store, HERE)
    await fsck(run.log, repair=True)
    assert await server(store, HERE).load() == b"n"
    await server(store, HERE).save(b"later" * 30)
    assert await server(store, HERE).load() == b"later" * 30


async def test_markers_that_are_swapped_between_revisions_and_namespaces_are_noticed(store, workflows):
    for source in (HERE.marker(1), THERE.marker(2)):
        own = await raw(store, HERE.marker(2))
        await store.replace(HERE.marker(2), await raw(store, source))
        await require_noticed(store, "wrong")
        await store.replace(HERE.marker(2), own)
        await require_noticed(store, None)


async def test_blobs_that_are_swapped_between_namespaces_are_noticed(store, workflows):
    blobs = [each.key async for each in list_all(store, "ns/") if "/blob/" in each.key]
    here, there = sorted(blobs)
    await store.replace(here, await raw(store, there))
    run = server(store, HERE)
    with pytest.raises(HoldfastError) as caught:
        await run.load("a")
    assert caught.value.reason is Reason.CHECKPOINT_CORRUPTED
    assert await run.load("b") == b"n"
    assert await server(store, THERE).load("a") == b"blob of other" * 100


async def test_a_fallback_passes_over_a_forged_marker_and_says_why(store, workflows):
    path = HERE.marker(2)
    await store.replace(path, await forged(path, await raw(store, path)))
    found = await load.find(server(store, HERE).log, HERE, "", (), fallback=True)
    assert found.entry.marker.checkpoint_id == "a"
    assert [each.error.metadata["mac"] for each in found.skipped] == ["missing"]


async def test_a_claim_that_hides_an_id_is_noticed(store, workflows):
    for number in range(20):
        await workflows[HERE].save(checkpoint_id=f"c{number}")
    path = HERE.claim(0, "a")
    await store.replace(path, await raw(store, HERE.claim(0, "c19")))
    assert (await server(store, HERE).load("a")).startswith(b"blob of n")
    reported = []
    await fsck(server(store, HERE).log, on_finding=lambda finding: reported.append(finding.key))
    assert reported == [path]
