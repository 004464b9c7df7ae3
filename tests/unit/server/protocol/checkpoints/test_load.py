"""Loads with damage and collections: damage is named, a fallback returns the newest whole one at or before."""

import pytest
from holdfast_server.protocol.checkpoints import fence, live, load
from holdfast_server.protocol.checkpoints.copy import copy_workflow
from holdfast_server.protocol.checkpoints.heads import OvertakenError
from holdfast_server.protocol.checkpoints.load import Depth
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.checkpoints.validate import validate
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log import log as log_module
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log, now
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.stores.memory import MemoryStore

from tests.support.workflows import GRACE, KEYS, Workflow, workflow


async def found(run, checkpoint_id="", *, fallback=True):
    return await load.find(Log(run.log.store, grace_seconds=GRACE), KEYS, checkpoint_id, (), fallback=fallback)


async def refusal(call):
    with pytest.raises(HoldfastError) as refused:
        await call
    return refused.value.reason


async def listed(run):
    return [entry.revision async for entry in load.history(Log(run.log.store, grace_seconds=GRACE), KEYS, None)]


def damage(run, key):
    data, modified = run.log.store.objects.by_key[key]
    run.log.store.objects.by_key[key] = (bytes([data[0] ^ 1]) + data[1:], modified)


async def saved(run, count, **fields):
    return [(await run.save(**fields)).marker.checkpoint_id for _ in range(count)]


@pytest.mark.parametrize("is_gone", [False, True])
async def test_fallback_from_a_damaged_marker_returns_nothing_newer_than_the_requested_checkpoint(is_gone):
    run = workflow()
    ids = await saved(run, 20)
    if is_gone:
        await run.log.store.delete(KEYS.marker(3))
    else:
        damage(run, KEYS.marker(3))
    answer = await found(run, ids[2])
    assert (answer.entry.revision, [each.revision for each in answer.skipped]) == (2, [3])
    assert await refusal(found(run, ids[2], fallback=False)) is Reason.CHECKPOINT_CORRUPTED


async def test_fallback_from_the_id_of_the_newest_checkpoint_skips_its_damaged_marker():
    run = workflow()
    ids = await saved(run, 3)
    damage(run, KEYS.marker(3))
    answer = await found(run, ids[2])
    assert (answer.entry.revision, answer.head_revision, [each.revision for each in answer.skipped]) == (2, 0, [3, 3])


async def test_a_chosen_id_whose_marker_is_damaged_is_reported_as_damaged_and_not_as_missing():
    run = workflow()
    await run.save()
    await run.save(checkpoint_id="chosen")
    await saved(run, 20)
    damage(run, KEYS.marker(2))
    assert await refusal(found(run, "chosen", fallback=False)) is Reason.CHECKPOINT_CORRUPTED
    assert (await found(run, "chosen")).entry.revision == 1
    assert await refusal(found(run, "other")) is Reason.CHECKPOINT_NOT_FOUND


async def test_a_chosen_id_is_found_before_a_damaged_marker_of_another():
    run = workflow()
    await run.save(checkpoint_id="chosen")
    await saved(run, 20)
    damage(run, KEYS.marker(3))
    assert (await found(run, "chosen", fallback=False)).entry.revision == 1
    assert await refusal(run.save(b"other", checkpoint_id="chosen")) is Reason.CHECKPOINT_ID_REUSED


async def test_a_chosen_id_that_damage_may_hide_cannot_be_used_again_until_a_repair():
    run = workflow()
    await run.save()
    await run.save(b"first", checkpoint_id="chosen")
    await saved(run, 20)
    damage(run, KEYS.marker(2))
    assert await refusal(run.save(b"second", checkpoint_id="chosen")) is Reason.CHECKPOINT_CORRUPTED
    await fsck(run.log, repair=True)
    assert (await run.save(b"second", checkpoint_id="chosen")).revision == 24


async def test_a_damaged_claim_neither_hides_nor_frees_its_id():
    run = workflow()
    await run.save(checkpoint_id="chosen")
    await saved(run, 20)
    damage(run, KEYS.claim(0, "chosen"))
    assert (await found(run, "chosen", fallback=False)).entry.revision == 1
    assert await refusal(run.save(b"other", checkpoint_id="chosen")) is Reason.CHECKPOINT_ID_REUSED


async def test_the_marker_after_a_damaged_one_is_not_reported_as_damaged():
    run = workflow()
    await saved(run, 2)
    damage(run, KEYS.marker(2))

    class AppendedTo(Log):
        """A log to which another server, with the head in its cache, appends as soon as damage was found."""

        async def head(self, keys):
            try:
                return await super().head(keys)
            except HoldfastError:
                if await self.newest(keys) == 2:
                    await run.save()
                raise

    answer = await load.find(AppendedTo(run.log.store), KEYS, "", (), fallback=True)
    assert (answer.entry.revision, answer.skipped) == (3, ())


async def test_damage_right_after_a_cached_head_does_not_hide_newer_checkpoints():
    run = workflow()
    await saved(run, 2)
    stale = Log(run.log.store, grace_seconds=GRACE)
    await stale.head(KEYS)
    await saved(run, 2)
    damage(run, KEYS.marker(3))
    assert (await load.find(stale, KEYS, "", (), fallback=False)).entry.revision == 4


async def test_a_first_checkpoint_whose_marker_is_damaged_is_not_reported_as_missing():
    run = workflow()
    await fence.acquire_writer(run.log, Request(KEYS, "a"), deadline=run.deadline())
    await run.save()
    damage(run, KEYS.marker(2))
    assert await refusal(found(run)) is Reason.CHECKPOINT_CORRUPTED


class StandingStill(MemoryStore):
    """A store that calls a function before the first read of a key."""

    def __init__(self):
        super().__init__()
        self.before = {}

    async def get(self, key, **window):
        if key in self.before:
            await self.before.pop(key)()
        return await super().get(key, **window)


@pytest.fixture
async def overtaken(monkeypatch):
    """A workflow whose older checkpoints are collected, and replaced by newer ones, as soon as revision 2 is read."""
    run = Workflow(Log(StandingStill(), grace_seconds=GRACE))
    ids = await saved(run, 3)

    async def graces_pass():
        await saved(run, 2)
        for passed in (1, 2, 3):
            await run.collect(Retention(keep_last=1), passed=passed * (GRACE + 1))
        monkeypatch.setattr(log_module, "now", lambda: now() + 4 * GRACE)

    run.log.store.before[KEYS.marker(2)] = graces_pass
    return run, ids


async def test_a_load_that_was_paused_for_a_grace_reads_the_log_again(overtaken):
    run, _ = overtaken
    damage(run, KEYS.blob((await run.log.head(KEYS)).marker.parts[0].blob))
    answer = await found(run)
    assert (answer.entry.revision, answer.skipped) == (5, ())


async def test_a_validation_that_was_paused_for_a_grace_reads_the_log_again(overtaken):
    run, _ = overtaken
    damage(run, KEYS.blob((await run.log.head(KEYS)).marker.parts[0].blob))
    verdict = await validate(Log(run.log.store, grace_seconds=GRACE), KEYS, "", Depth.CHECKSUM, ())
    assert (verdict.resumable, verdict.entry.revision) == (True, 5)


async def test_a_list_that_was_paused_for_a_grace_contains_nothing_twice_and_ends(overtaken):
    run, _ = overtaken
    assert await listed(run) == [3]


async def test_a_load_by_id_of_a_checkpoint_that_is_collected_concurrently_does_not_find_it(overtaken):
    run, ids = overtaken
    assert await refusal(found(run, ids[1], fallback=False)) is Reason.CHECKPOINT_NOT_FOUND


async def test_a_marker_that_a_repair_recorded_as_deleted_ends_neither_a_list_nor_a_fallback():
    run = workflow()
    ids = await saved(run, 5)
    await run.log.store.delete(KEYS.marker(3))
    await fsck(Log(run.log.store, grace_seconds=GRACE), repair=True)
    assert await listed(run) == [5, 4, 2, 1]
    damage(run, KEYS.marker(4))
    answer = await found(run, ids[3])
    assert (answer.entry.revision, [each.revision for each in answer.skipped]) == (2, [4])
    assert await refusal(found(run, ids[2])) is Reason.CHECKPOINT_DELETED
    await saved(run, 20)
    assert await refusal(found(run, ids[2])) is Reason.CHECKPOINT_DELETED


async def test_a_retry_whose_first_attempt_may_be_damaged_is_not_committed_again():
    run = workflow()
    began = now()
    part = await run.upload(b"first", inline=100)

    def first(first_attempt_at):
        spec = CheckpointSpec(Request(KEYS, "first", first_attempt_at=first_attempt_at), "f", 1)
        return save(run.log, spec, [part], deadline=run.deadline())

    await first(None)
    await saved(run, 20)
    damage(run, KEYS.marker(1))
    assert await refusal(first(began)) is Reason.COMMIT_UNKNOWN


async def test_a_fallback_that_finds_nothing_whole_reads_the_log_again_if_there_was_a_concurrent_save():
    class Busy(MemoryStore):
        """A store in which another server saves while the oldest checkpoint is read."""

        async def get(self, key, **window):
            if "/blob/" in key and not self.is_saved and key == self.oldest:
                self.is_saved = True
                await Workflow(Log(self, grace_seconds=GRACE), KEYS).save(b"new")
            return await super().get(key, **window)

    run = workflow()
    run.log.store = store = Busy()
    store.is_saved, store.oldest = True, ""
    await saved(run, 2)
    await fence.acquire_writer(run.log, Request(KEYS, "a"), deadline=run.deadline())
    blobs = await run.objects("blob/")
    for key in blobs:
        damage(run, key)
    assert await refusal(found(run)) is Reason.CHECKPOINT_CORRUPTED
    store.is_saved, store.oldest = False, blobs[0]
    answer = await found(run)
    assert (answer.entry.revision, [each.revision for each in answer.skipped]) == (4, [])


async def test_a_history_and_a_copy_end_at_a_store_that_overtakes_them_again_and_again(monkeypatch):
    run = workflow()
    await saved(run, 2)
    looks = 0

    async def overtaken(log, keys, head, revision):
        nonlocal looks
        looks += 1
        raise OvertakenError(Reason.CHECKPOINT_DELETED, f"revision {revision} was deleted")

    monkeypatch.setattr(live, "read_live", overtaken)
    assert await refusal(listed(run)) is Reason.CHECKPOINT_DELETED
    target = Request(WorkflowKeys("n", "copy"), "r")
    assert await refusal(copy_workflow(run.log, KEYS, target, deadline=run.deadline())) is Reason.CHECKPOINT_DELETED
    assert looks == 2 * 100


async def test_a_history_that_is_overtaken_goes_on_as_long_as_there_are_new_heads(monkeypatch):
    run = workflow()
    await saved(run, 3)
    read_live, looks = live.read_live, 0

    async def overtaken(log, keys, head, revision):
        nonlocal looks
        looks += 1
        if looks <= 120:
            await run.save()
            raise OvertakenError(Reason.CHECKPOINT_DELETED, f"revision {revision} was deleted")
        return await read_live(log, keys, head, revision)

    monkeypatch.setattr(live, "read_live", overtaken)
    assert len(await listed(run)) == 123
