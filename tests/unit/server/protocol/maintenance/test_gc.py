"""Garbage collection on the in-memory store, with a grace that a test can let pass."""

import time

import pytest
from holdfast_server.protocol.checkpoints import load
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.stores.base import StoreUnavailableError
from holdfast_server.stores.memory import MemoryStore

from tests.support.workflows import ALL, GRACE, KEYS, Workflow, sweep_after, workflow


async def test_a_workflow_without_dead_objects_is_not_changed():
    workflow_ = workflow()
    for _ in range(5):
        await workflow_.save()
    before = await workflow_.objects()
    done = await workflow_.collect(passed=10 * GRACE)
    assert (done.retired, done.markers, done.blobs, done.bytes) == (0, 0, 0, 0)
    assert await workflow_.objects() == before


@pytest.mark.parametrize("retention", [Retention(keep_last=2), Retention(max_age_seconds=GRACE), ALL])
async def test_retention_ignores_pinned_checkpoints_when_it_judges_the_others(retention):
    run = workflow()
    for name in "abcdefg":
        parts = [await run.upload(name.encode() * 50)]
        await run.save(parts=parts, checkpoint_id=name, pinned=name in "adg")
    for passed in (2 * GRACE, 4 * GRACE, 6 * GRACE):
        await run.collect(retention, passed=passed)
    left = [entry.marker.checkpoint_id async for entry in load.history(run.log, KEYS, None)]
    judged = {2: "fe", None: "f" if retention.max_age_seconds else "fecb"}[retention.keep_last]
    assert left == sorted("adg" + judged, reverse=True)
    for name in left:
        assert await run.load(name) == name.encode() * 50
    assert len(await run.objects("blob/")) == len(left)


async def test_a_pinned_checkpoint_is_retired_after_its_own_ttl():
    run = workflow()
    await run.save(checkpoint_id="a", pinned=True, ttl_seconds=1.0)
    await run.save(checkpoint_id="b", pinned=True)
    await run.collect(Retention(keep_last=1), passed=10.0)
    assert [entry.marker.checkpoint_id async for entry in load.history(run.log, KEYS, None)] == ["b"]


async def test_a_repair_leaves_checkpoints_pinned():
    run = workflow()
    for name in "abcd":
        await run.save(checkpoint_id=name, pinned=name == "a")
    key = KEYS.marker(3)
    await run.log.store.delete(key)
    await run.log.store.put_if_absent(key, b"rotten")
    assert (await fsck(Log(run.log.store, grace_seconds=GRACE), repair=True)).repaired == 1
    await run.collect(Retention(keep_last=1))
    assert [entry.marker.checkpoint_id async for entry in load.history(run.log, KEYS, None)] == ["d", "a"]


async def test_keep_last_retires_the_older_ones_at_once_and_removes_them_after_the_grace():
    run = workflow()
    ids = [(await run.save(bytes([i]) * 50)).marker.checkpoint_id for i in range(10)]
    done = await run.collect(Retention(keep_last=3), passed=GRACE + 1)
    assert (done.retired, done.blobs) == (7, 0)
    with pytest.raises(HoldfastError) as gone:
        await run.load(ids[6])
    assert gone.value.reason in (Reason.CHECKPOINT_NOT_FOUND, Reason.CHECKPOINT_DELETED)
    assert len(await run.objects("blob/")) == 10
    done = await run.collect(Retention(keep_last=3), passed=2 * GRACE + 2)
    assert done.blobs == 7
    assert done.markers == 7
    assert [await run.load(each) for each in ids[7:]] == [bytes([i]) * 50 for i in (7, 8, 9)]
    assert len(await run.objects("log/")) == 3 + 1 + 1  # three kept, and the markers of two collections


async def test_the_newest_checkpoint_is_retired_by_no_rule_but_its_own_ttl():
    run = workflow()
    await run.save(b"a")
    await run.save(b"b")
    await run.collect(Retention(keep_last=1, max_age_seconds=1), passed=5 * GRACE)
    assert await run.load() == b"b"
    entry = await run.save(b"c", ttl_seconds=10)
    await run.collect(passed=9)
    assert await run.load(entry.marker.checkpoint_id) == b"c"
    await run.collect(passed=11)
    assert await run.load() == b"b"


async def test_max_age_retires_by_age_alone():
    run = workflow()
    for _ in range(3):
        await run.save()
    assert (await run.collect(Retention(max_age_seconds=100), passed=50)).retired == 0
    assert (await run.collect(Retention(max_age_seconds=100), passed=150)).retired == 2


async def test_a_dry_run_counts_what_a_collection_would_retire_and_changes_nothing():
    run = workflow()
    for _ in range(4):
        await run.save()
    before = await run.objects()
    assert (await run.collect(Retention(keep_last=1), dry_run=True)).retired == 3
    assert await run.objects() == before
    assert (await run.collect(Retention(keep_last=1))).retired == 3


async def test_a_blob_that_no_marker_names_is_removed_only_after_the_grace():
    run = workflow()
    await run.save()
    await run.upload()
    assert (await run.collect(passed=GRACE / 2)).blobs == 0
    done = await run.collect(passed=GRACE + 1)
    assert (done.blobs, len(await run.objects("blob/"))) == (1, 1)
    assert await run.load() == b"x" * 100


@pytest.mark.parametrize("seconds", [0.0, 1.0, 1e9])
async def test_an_upload_that_began_from_a_young_entry_stays_whatever_its_damaged_time_says(seconds):
    run = workflow()
    await run.save()
    key = run.keys.blob((await run.upload(b"y" * 100)).blob)
    objects = run.log.store.objects.by_key
    objects[key] = (objects[key][0], seconds)
    assert (await run.collect()).blobs == 0
    assert key in objects
    assert (await run.collect(passed=2 * GRACE)).blobs == 1
    assert key not in objects


@pytest.mark.parametrize("days", [-400, 2, 36_500])
async def test_a_sweep_removes_nothing_by_a_clock_of_the_store_that_is_far_from_this_machines(days):
    run = workflow()
    await run.save(ttl_seconds=3600.0)
    await run.upload(b"y" * 100)
    before = await run.objects()
    run.log.store.objects._clock = lambda: time.time() + days * 86_400
    with pytest.raises(StoreUnavailableError, match="clock differs from this machine's by more than a day"):
        await sweep(run.log, Policies({"*": Retention(max_age_seconds=GRACE)}))
    assert await run.objects() == before


async def test_an_upload_older_than_the_low_water_mark_is_copied_before_it_commits():
    run = workflow()
    await run.save()
    slow = await run.upload(b"slow" * 30)
    await run.upload(b"dead")
    # Another collection has raised the low-water mark, but the slow upload's own blob is not collected yet.
    run.log.store.objects.by_key[KEYS.blob(slow.blob)] = (b"slow" * 30, time.time() + 3 * GRACE)
    assert (await run.collect(passed=GRACE + 1)).blobs == 1
    entry = await run.save(parts=[slow])
    assert entry.marker.parts[0].blob != slow.blob
    await run.collect(passed=9 * GRACE)
    assert await run.load() == b"slow" * 30
    assert KEYS.blob(slow.blob) not in await run.objects("blob/")


async def test_an_upload_whose_blob_was_collected_is_refused_so_that_it_is_sent_again():
    run = workflow()
    await run.save()
    slow = await run.upload(b"slow" * 30)
    assert (await run.collect(passed=GRACE + 1)).blobs == 1
    with pytest.raises(HoldfastError) as refused:
        await run.save(parts=[slow])
    assert refused.value.reason is Reason.STORE_UNAVAILABLE
    assert await run.load() == b"x" * 100


async def test_a_deleted_workflow_leaves_its_last_marker_only_once_the_grace_is_over():
    run = workflow()
    for number in range(8):
        await run.save(checkpoint_id=f"id-{number}")
    await run.upload(b"never committed")
    await run.delete_workflow()
    await run.collect(passed=GRACE + 1)
    left = await run.objects()
    assert len(left) == 1
    assert left[0].startswith(KEYS.log)
    assert (await run.save(b"again", checkpoint_id="id-3")).revision > 9
    assert await run.load("id-3") == b"again"


async def test_blobs_of_failed_saves_in_a_workflow_without_a_log_are_removed():
    run = workflow()
    await run.upload(base=0)
    done = await sweep_after(run, GRACE + 1)
    assert (done.workflows, done.blobs) == (1, 1)
    assert not await run.objects("blob/")
    assert await run.save(b"first") is not None
    assert await run.load() == b"first"


async def test_dead_claims_are_removed_and_the_ids_of_live_checkpoints_stay_unique():
    run = workflow()
    for number in range(130):
        await run.save(checkpoint_id=f"id-{number}")
    await run.collect(Retention(keep_last=5), passed=GRACE + 1)
    done = await run.collect(Retention(keep_last=5), passed=2 * GRACE + 2)
    await run.collect(Retention(keep_last=5), passed=3 * GRACE + 3)
    assert len(await run.objects("id/")) == 5
    assert done.claims + 5 <= 130
    assert await run.load("id-129") == b"x" * 100
    for _ in range(20):
        await run.save()
    with pytest.raises(HoldfastError) as reused:
        await run.save(b"other", checkpoint_id="id-127")
    assert reused.value.reason is Reason.CHECKPOINT_ID_REUSED
    await run.save(b"other", checkpoint_id="id-1")
    assert await run.load("id-1") == b"other"


async def test_a_damaged_marker_stops_the_collection_of_its_workflow():
    run = workflow()
    for _ in range(4):
        await run.save()
    key = KEYS.marker(2)
    run.log.store.objects.by_key[key] = (b"rot", 0.0)
    before = await run.objects()
    done = await sweep_after(run, 3 * GRACE, Retention(keep_last=1))
    assert (done.damaged, done.blobs, done.markers) == (1, 0, 0)
    assert await run.objects() == before


async def test_a_sweep_visits_every_workflow_and_can_continue_after_a_position():
    log = Log(MemoryStore(), grace_seconds=GRACE)
    names = [("a", "1"), ("a", "x" * 300), ("b", "ü/"), ("b", "z")] + [("c", str(n)) for n in range(20)]
    names = [(n, w.replace("/", "")) for n, w in names]
    for namespace, workflow_id in names:
        run = Workflow(log, WorkflowKeys(namespace, workflow_id))
        for _ in range(3):
            await run.save()
    positions = []
    policies = Policies({"*": Retention(keep_last=1), "b": Retention(keep_last=2)})
    done = await sweep(log, policies, on_progress=lambda position, _: positions.append(position), dry_run=True)
    assert (done.workflows, done.retired) == (24, 22 * 2 + 2 * 1)
    rest = await sweep(log, policies, after=positions[7])
    assert rest.workflows == 24 - 8


async def test_a_sweep_fails_if_the_store_loses_the_object_that_shows_its_time():
    class Losing(MemoryStore):
        async def put_if_absent(self, key, data):
            return False

    with pytest.raises(StoreUnavailableError):
        await sweep(Log(Losing()), Policies({}))
