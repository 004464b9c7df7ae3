"""A store that was exported and restored is the same: its logs, its checkpoints and what belongs to them."""

import uuid
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass

import pytest
from holdfast_server.layout.v1.marker_pb2 import RecordBatch, StoredRecord
from holdfast_server.protocol.archive.export import Scope
from holdfast_server.protocol.archive.members import ArchiveError
from holdfast_server.protocol.checkpoints import purge, records
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.memory import MemoryStore

from tests.support.archives import archive_of, contents, continuation_of, put_into, restored
from tests.support.budget import amount
from tests.support.deltas import Deltas, noise, text
from tests.support.mac_keys import KEY, OTHER_KEY, keyed
from tests.support.workflows import GRACE, KEYS, Workflow, check, damage, sweep_after

# Before every read of an export, or one of a few.
STRIDE = amount(small=4, full=1)
OTHERS = [WorkflowKeys("n", "v" * 300), WorkflowKeys("n/".replace("/", "-"), "v 2"), WorkflowKeys("o", "ü")]


async def filled(store=None, saves=12):
    """Return a workflow with deltas, blobs, claimed ids, deletions and a fence."""
    run = Deltas(store)
    for number in range(saves):
        parts = {"state": text(1, 3000 + number) + noise(number, 40), "other": noise(number, 2000)}
        await run.keep(parts, checkpoint_id=f"c{number}" if number % 3 == 0 else "")
    await run.delete("c3")
    return run


async def good(store, keys=KEYS):
    """Return the parts of each checkpoint of a workflow that can be read, by its revision."""
    run = Deltas(store, keys=keys)
    head = await run.log.head(keys)
    found = {}
    for revision in range(head.marker.floor + 1, head.revision + 1):
        entry = await run.log.read_unbounded(keys, revision)
        if entry is not None and entry.is_checkpoint and not head.gone(revision):
            found[revision] = {part.name: await run.read(revision, name=part.name) for part in entry.marker.parts}
    return found


async def head_of(store, keys=KEYS):
    return await Log(store).head(keys)


async def require_clean(store):
    _, findings = await check(Deltas(store))
    assert findings == []


async def test_a_restored_store_has_the_same_logs_and_checkpoints():
    run = await filled()
    for keys in OTHERS:
        await Deltas(run.log.store, keys=keys).keep(noise(str(keys), 5000))
    archive, findings = await archive_of(run.log.store)
    assert findings == []
    store = await restored(archive)
    assert await head_of(store) == await head_of(run.log.store)
    assert await good(store) == await good(run.log.store)
    for keys in OTHERS:
        assert await good(store, keys) == await good(run.log.store, keys)
    await require_clean(store)
    assert (await archive_of(store))[0] == archive


async def test_a_restored_log_is_continued_like_the_original():
    run = await filled()
    request_id = uuid.uuid4().hex
    saved = await run.keep(b"first", request_id=request_id, checkpoint_id="mine")
    store = await restored((await archive_of(run.log.store))[0])
    continued = Deltas(store)
    assert (await continued.keep(b"first", request_id=request_id, checkpoint_id="mine")).revision == saved.revision
    with pytest.raises(HoldfastError) as refused:
        await continued.keep(b"second", checkpoint_id="mine")
    assert refused.value.reason is Reason.CHECKPOINT_ID_REUSED
    assert (await continued.keep(text(1))).revision == saved.revision + 1
    await sweep_after(continued, GRACE * 3, Retention(keep_last=2))
    assert len(await good(store)) == 2
    await require_clean(store)


async def test_macs_of_one_store_become_those_of_another():
    first, second = keyed(MemoryStore(), KEY, store_id="1"), keyed(MemoryStore(), OTHER_KEY, store_id="2")
    run = await filled(first)
    archive, findings = await archive_of(first)
    assert findings == []
    await put_into(second, archive)
    assert await good(second) == await good(first)
    await require_clean(second)
    assert (await put_into(second, archive))["unchanged"] == 1
    assert (await head_of(second)).digest == (await head_of(first)).digest
    with pytest.raises(HoldfastError):
        await head_of(keyed(second._store, KEY, store_id="1"), run.keys)


async def test_records_come_along():
    run = await filled()
    batch = RecordBatch(checkpoint_id="c6", request_id="r", stamp=9, records=[StoredRecord(key="k", data=b"v")])
    await records.attach(run.log, KEYS, batch, deadline=run.deadline())
    store = await restored((await archive_of(run.log.store))[0])
    found = await records.read(store, KEYS, "c6")
    assert [(each.key, each.data) for each in found.records] == [("k", b"v")]


@pytest.mark.parametrize("has_more", [False, True])
async def test_a_head_that_claims_billions_of_revisions_does_not_hold_an_export(has_more):
    run = Workflow(Log(MemoryStore(), grace_seconds=GRACE))
    for _ in range(3):
        newest = await run.save(parts=[await run.upload(b"x", inline=10)])
    claimed = deepcopy(newest.marker)
    for revision in (10**9, 5 * 10**9)[not has_more :]:
        claimed.revision = revision
        await run.log.store.put_if_absent(KEYS.marker(revision), marker_codec.encode(claimed, KEYS.marker(revision)))
    archive, findings = await archive_of(run.log.store)
    last, first = 5 * 10**9 - 1, 10**9 + 1 if has_more else 4
    assert findings[-1] == f"{KEYS.marker(last)}: is missing, like all down to revision {first}"
    assert len(findings) == 1 + has_more
    store = await restored(archive)
    assert [await Log(store).read_unbounded(KEYS, each) is not None for each in (3, 4, 5 * 10**9)] == [
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [(Scope("n"), {KEYS, OTHERS[0]}), (Scope("o"), {OTHERS[2]}), (Scope("n", "w"), {KEYS}), (Scope("x"), set())],
)
async def test_a_namespace_or_a_workflow_is_exported_alone(scope, expected):
    store = MemoryStore()
    for keys in (KEYS, *OTHERS, WorkflowKeys("n", "w2")):
        if keys.workflow_id != "w2" or scope.workflow_id:
            await Deltas(store, keys=keys).keep(b"x")
    archive, _ = await archive_of(store, scope)
    prefixes = {"/".join(key.split("/")[:4]) + "/" for key in contents(await restored(archive))}
    assert prefixes == {keys.prefix for keys in expected}


async def collected(run):
    await sweep_after(run, GRACE * 3, Retention(keep_last=3))


async def purged(run):
    for checkpoint_id in ("c0", "c9"):
        with suppress(HoldfastError):
            await purge.purge(run.log, Request(KEYS, uuid.uuid4().hex), checkpoint_id, deadline=run.deadline())


async def saved(run):
    await run.keep(text(1, 3000))


async def removed(run):
    await run.delete_workflow()
    await sweep_after(run, GRACE * 3)


async def all_of_it(run):
    for each in (saved, purged, collected, saved, purged):
        await each(run)


class Changing(MemoryStore):
    """A store that somebody changes before one of the reads of its exporter."""

    countdown = 0
    change = None

    async def get(self, key, *, offset=0, length=None):
        self.countdown -= 1
        if self.countdown == 0:
            change, self.change = self.change, None
            await change()
        return await super().get(key, offset=offset, length=length)


@pytest.mark.verification
@pytest.mark.parametrize("change", [collected, purged, saved, removed, all_of_it])
async def test_an_export_beside_changes_has_a_state_that_was_there(change):
    run = await filled()
    before = await good(run.log.store)
    at = 0
    while True:
        at += STRIDE
        store = Changing()
        store.objects = deepcopy(run.log.store.objects)
        store.countdown, store.change = at, lambda store=store: change(Deltas(store))
        archive, findings = await archive_of(store)
        if store.change is not None:
            break
        assert findings == [], at
        copy = await restored(archive)
        await require_clean(copy)
        found = await good(copy)
        was_there = before | await good(store)
        assert all(was_there[revision] == parts for revision, parts in found.items()), at
        # What is live before and after is never missing.
        assert set(before) & set(await good(store)) <= set(found), at
    assert at > 20


async def test_a_restore_that_was_cut_off_is_continued_by_another_one():
    run = await filled()
    archive, _ = await archive_of(run.log.store)
    whole = contents(await restored(archive))
    for end in range(1, len(archive), 4096):
        store = MemoryStore()
        with pytest.raises(ArchiveError):
            await put_into(store, archive[:end])
        _, findings = await check(Deltas(store))
        # It was deleted later, so that the archive has no blobs of it. What comes before markers is noticed.
        assert all("checkpoint 'c3'" in each.what or "newer markers" in each.what for each in findings), findings
        done = await put_into(store, archive)
        assert contents(store) == whole
        assert done["objects"] <= len(whole)


async def test_a_restore_changes_nothing_in_a_store_that_has_the_workflow():
    run = await filled()
    archive, _ = await archive_of(run.log.store)
    store = await restored(archive)
    later = Deltas(store)
    await later.keep(text(1))
    await purged(later)
    before = contents(store)
    assert (await put_into(store, archive))["unchanged"] == 1
    assert contents(store) == before
    await collected(later)
    before = contents(store)
    assert (await put_into(store, archive))["unchanged"] == 1
    assert contents(store) == before


@dataclass(frozen=True)
class History:
    """Another workflow with the same name.

    Attributes:
        saves: how many checkpoints it has.
        shared: how many of the archived entries come first in it.

    """

    saves: int
    shared: int


@pytest.mark.parametrize(
    "history", [History(1, 0), History(50, 0), History(1, 5), History(30, 5), History(1, 12)], ids=str
)
async def test_a_workflow_with_another_history_stays_as_it_is(history):
    run = await filled()
    first = await restored((await archive_of(run.log.store))[0])
    archive, _ = await archive_of(first)
    store = MemoryStore()
    if history.shared:
        for key, (data, modified) in first.objects.by_key.items():
            revision = KEYS.revision(key)
            if revision is None or revision <= history.shared:
                store.objects.by_key[key] = (data, modified)
    other = Deltas(store)
    for number in range(history.saves):
        await other.keep(noise(f"other {number}", 2000))
    before = {key: data for key, data in contents(store).items() if "/log/" in key}
    refused = []
    done = await put_into(store, archive, refused)
    assert done["refused"] == 1
    assert len(refused) == 1
    assert {key: data for key, data in contents(store).items() if "/log/" in key} == before
    if not history.shared:
        assert done["objects"] == 0


async def test_damage_is_reported_and_restored_as_damage():
    run = await filled()
    (blob, *_) = await run.objects("blob/")
    damage(run, blob)
    damage(run, KEYS.marker(5))
    await run.log.store.delete(KEYS.marker(7))
    archive, findings = await archive_of(run.log.store)
    assert any(KEYS.marker(5) in each for each in findings)
    assert any(KEYS.marker(7) in each for each in findings)
    store = await restored(archive)
    _, before = await check(run)
    _, after = await check(Deltas(store))
    assert {each.key for each in after} == {each.key for each in before}
    assert (await head_of(store)).digest == (await head_of(run.log.store)).digest


async def test_an_export_that_is_continued_states_all_damage():
    run = await filled()
    damage(run, KEYS.marker(5))
    store = run.log.store
    await Deltas(store, keys=OTHERS[2]).keep(b"x")
    archive, findings = await archive_of(store)
    assert len(findings) == 1
    second = archive.index(b"workflows/2.json")
    assert await continuation_of(store, archive[: second + 600]) == archive


async def test_a_workflow_whose_head_is_damaged_is_left_out():
    run = await filled()
    head = await head_of(run.log.store)
    damage(run, KEYS.marker(head.revision))
    await Deltas(run.log.store, keys=OTHERS[2]).keep(b"x")
    archive, (finding,) = await archive_of(run.log.store)
    assert KEYS.prefix in finding
    assert "left out" in finding
    assert all(key.startswith(OTHERS[2].prefix) for key in contents(await restored(archive)))


async def test_an_archive_with_newer_markers_than_the_store_writes_is_refused():
    run = await filled()
    archive, _ = await archive_of(run.log.store)
    with pytest.raises(HoldfastError) as refused:
        await put_into(MemoryStore(), archive, marker_version=1)
    assert refused.value.reason is Reason.LAYOUT_UNSUPPORTED
    assert "upgrade" in refused.value.message
