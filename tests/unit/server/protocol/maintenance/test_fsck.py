"""The check of a store: which damage it finds, and which workflows a repair makes usable again."""

import pytest
from holdfast_server.protocol.checkpoints import delete, fence
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log.append_once import Origin, Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.memory import MemoryStore

from tests.support.workflows import GRACE, KEYS, Workflow, check, damage, workflow


async def test_a_sound_store_has_no_findings_and_its_orphans_are_counted():
    run = workflow()
    for number in range(40):
        await run.save(checkpoint_id=f"id-{number}")
    await run.upload(b"o" * 70)
    await run.collect(Retention(keep_last=35))
    checked, findings = await check(run)
    assert findings == []
    assert (checked.markers, checked.checkpoints, checked.orphans, checked.orphan_bytes) == (41, 35, 1, 70)


async def test_a_damaged_part_and_a_missing_part_are_named():
    run = workflow()
    first, second = [await run.save() for _ in range(2)]
    damage(run, KEYS.blob(first.marker.parts[0].blob))
    await run.log.store.delete(KEYS.blob(second.marker.parts[0].blob))
    _, findings = await check(run)
    problems = {each.key: each.what for each in findings}
    assert set(problems) == {KEYS.marker(1), KEYS.marker(2)}
    assert "is gone" in problems[KEYS.marker(2)]
    assert "does not match its digest" in problems[KEYS.marker(1)]
    assert first.marker.checkpoint_id in problems[KEYS.marker(1)]


async def test_a_damaged_checkpoint_is_reported_with_the_caller_that_saved_it():
    run = workflow()
    request = Request(KEYS, "r", origin=Origin(principal="token:ci"))
    part = await run.upload()
    await save(run.log, CheckpointSpec(request, "f", 1), [part], deadline=run.deadline())
    damage(run, KEYS.blob(part.blob))
    _, (finding,) = await check(run)
    assert finding.what.endswith(", saved by 'token:ci')")


async def test_a_marker_that_replaces_another_breaks_the_chain():
    run, other = workflow(), workflow()
    for _ in range(3):
        await run.save()
        await other.save()
    run.log.store.objects.by_key[KEYS.marker(2)] = other.log.store.objects.by_key[KEYS.marker(2)]
    _, findings = await check(run)
    assert {each.key for each in findings} >= {KEYS.marker(2), KEYS.marker(3)}


@pytest.mark.parametrize("is_gone", [False, True])
async def test_a_repair_records_a_lost_marker_in_the_middle_as_deleted_and_collections_continue(is_gone):
    run = workflow()
    for _ in range(5):
        await run.save()
    if is_gone:
        await run.log.store.delete(KEYS.marker(3))
    else:
        damage(run, KEYS.marker(3))
    checked, findings = await check(run, repair=True)
    assert (checked.repaired, [each.key for each in findings]) == (1, [KEYS.marker(3)])
    assert (await check(run))[1] == []
    run.log = Log(run.log.store, grace_seconds=GRACE)
    await run.collect(Retention(keep_last=1), passed=GRACE + 1)
    await run.collect(Retention(keep_last=1), passed=2 * GRACE + 2)
    assert len(await run.objects("blob/")) == 1
    assert await run.load() == b"x" * 100


async def test_after_a_repair_of_a_damaged_head_new_writers_can_save_and_older_writers_are_fenced():
    run = workflow()
    await fence.acquire_writer(run.log, Request(KEYS, "a"), deadline=run.deadline())
    for number in range(3):
        await run.save(bytes([number]), checkpoint_id=f"id-{number}")
    damage(run, KEYS.marker(4))
    run.log = Log(run.log.store, grace_seconds=GRACE)
    with pytest.raises(HoldfastError) as refused:
        await run.save(b"new")
    assert refused.value.reason is Reason.CHECKPOINT_CORRUPTED
    checked, findings = await check(run, repair=True)
    assert (checked.repaired, len(findings)) == (1, 1)
    assert (await check(run))[1] == []
    assert await run.load() == bytes([1])
    assert await run.load("id-0") == bytes([0])
    with pytest.raises(HoldfastError) as fenced:
        await delete.delete_workflow(run.log, Request(KEYS, "b", epoch=1), deadline=run.deadline())
    assert fenced.value.reason is Reason.WRITER_FENCED
    await run.save(b"new", checkpoint_id="id-2")
    assert await run.load("id-2") == b"new"


async def test_a_repair_fences_the_writer_whose_own_fence_was_lost():
    run = workflow()
    await run.save(b"1")
    acquired = await fence.acquire_writer(run.log, Request(KEYS, "a"), deadline=run.deadline())
    damage(run, KEYS.marker(2))
    run.log = Log(run.log.store, grace_seconds=GRACE)
    await check(run, repair=True)
    request = Request(KEYS, "b", epoch=acquired.entry.marker.writer_epoch)
    with pytest.raises(HoldfastError) as fenced:
        await delete.delete_workflow(run.log, request, deadline=run.deadline())
    assert fenced.value.reason is Reason.WRITER_FENCED


async def test_a_log_that_is_damaged_throughout_is_reported_as_findings():
    run = workflow()
    await run.save()
    damage(run, KEYS.marker(1))
    checked, findings = await check(run, repair=True)
    assert (checked.repaired, len(findings)) == (0, 2)


async def test_a_repaired_workflow_is_collected_at_once():
    run = workflow()
    for _ in range(3):
        await run.save()
    damage(run, KEYS.marker(3))
    run.log = Log(run.log.store, grace_seconds=GRACE)
    # The damaged marker was the head a grace ago.
    data, modified = run.log.store.objects.by_key[KEYS.marker(3)]
    run.log.store.objects.by_key[KEYS.marker(3)] = (data, modified - GRACE)
    await check(run, repair=True)
    assert (await run.collect(Retention(keep_last=1))).retired == 1


async def test_a_repair_hides_no_checkpoint_that_was_saved_while_it_read_the_log():
    class Watched(MemoryStore):
        """A store that calls a function before a blob is read."""

        before_blob = None

        async def get(self, key, **window):
            if self.before_blob is not None and key.startswith(KEYS.blobs):
                before_blob, self.before_blob = self.before_blob, None
                await before_blob()
            return await super().get(key, **window)

    run = Workflow(Log(Watched(), grace_seconds=GRACE))
    for _ in range(3):
        await run.save()
    damage(run, KEYS.marker(1))

    async def save():
        await run.save(b"new")

    run.log.store.before_blob = save
    checked, _ = await check(run, repair=True)
    assert checked.repaired == 1
    assert await run.load() == b"new"
