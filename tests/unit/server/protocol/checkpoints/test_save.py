"""Commits by several servers on one store: a stale head must not lead to a wrong answer."""

import asyncio
import time

import pytest
from holdfast_server.protocol.checkpoints import delete, fence
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log, now
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.gc import collect
from holdfast_server.protocol.payload.parts import PartUpload
from holdfast_server.stores.base import StoreAccessDeniedError
from holdfast_server.stores.memory import MemoryStore

KEYS = WorkflowKeys("n", "w")


async def commit(log, request_id, *, first_attempt_at=None, **fields):
    async with PartUpload(log.store, KEYS, 0, "", 100) as upload:
        await upload.write(request_id.encode())
        part = await upload.finish()
    request = Request(KEYS, request_id, first_attempt_at=first_attempt_at)
    return await save(log, CheckpointSpec(request, "f", 1, **fields), [part], deadline=deadline())


def deadline():
    return asyncio.get_running_loop().time() + 5


async def test_a_server_with_a_stale_head_accepts_a_correct_expected_revision():
    store = MemoryStore()
    stale, ahead = Log(store), Log(store)
    await commit(stale, "a")
    await commit(ahead, "b")
    assert (await commit(stale, "c", expected_revision=2)).entry.revision == 3


async def test_a_server_with_a_stale_head_deletes_a_newer_checkpoint():
    store = MemoryStore()
    stale, ahead = Log(store), Log(store)
    await commit(stale, "a")
    saved = await commit(ahead, "b")
    done = await delete.delete_checkpoint(
        stale, Request(KEYS, "d"), saved.entry.marker.checkpoint_id, deadline=deadline()
    )
    assert done.entry.revision == 3


async def test_a_server_with_a_stale_head_refuses_a_wrong_expected_revision():
    store = MemoryStore()
    stale, ahead = Log(store), Log(store)
    await commit(stale, "a")
    await commit(ahead, "b")
    with pytest.raises(HoldfastError) as refused:
        await commit(stale, "c", expected_revision=1)
    assert refused.value.reason is Reason.REVISION_CONFLICT
    assert refused.value.metadata["head_revision"] == "2"


async def test_expected_revision_0_means_no_checkpoint_whatever_other_entries_the_log_has():
    log = Log(MemoryStore())
    await fence.acquire_writer(log, Request(KEYS, "fence"), deadline=deadline())
    assert (await commit(log, "a", expected_revision=0)).entry.revision == 2
    with pytest.raises(HoldfastError) as refused:
        await commit(log, "b", expected_revision=0)
    assert refused.value.reason is Reason.REVISION_CONFLICT


async def test_a_retry_finds_its_first_attempt_from_before_a_deletion_of_the_workflow():
    log = Log(MemoryStore())
    began = now()
    first = await commit(log, "a")
    await delete.delete_workflow(log, Request(KEYS, "d"), deadline=deadline())
    again = await commit(log, "a", first_attempt_at=began)
    assert (again.replayed, again.entry.revision) == (True, first.entry.revision)


async def test_a_retry_finds_its_first_attempt_that_is_older_than_the_recent_entries_of_the_head():
    log = Log(MemoryStore())
    began = now()
    first = await commit(log, "a")
    for number in range(40):
        await commit(log, f"b{number}")
    again = await commit(log, "a", first_attempt_at=began)
    assert (again.replayed, again.entry.revision) == (True, first.entry.revision)


async def test_an_access_error_after_a_commit_leaves_its_outcome_unknown():
    class SentTwice(MemoryStore):
        """A store that answers a put as if an HTTP client had sent it twice, then refuses access."""

        async def put_if_absent(self, key, data):
            await super().put_if_absent(key, data)
            return False

        async def get(self, key, **window):
            raise StoreAccessDeniedError("the store refuses access")

    with pytest.raises(HoldfastError) as unknown:
        await commit(Log(SentTwice()), "a")
    assert unknown.value.reason is Reason.COMMIT_UNKNOWN


class Interrupted(MemoryStore):
    """A store that puts the first marker of a log, calls a function, and then answers that the key was taken."""

    def __init__(self, before_answer):
        super().__init__()
        self._before_answer = before_answer

    async def put_if_absent(self, key, data):
        made = await super().put_if_absent(key, data)
        if key != KEYS.marker(1) or self._before_answer is None:
            return made
        before_answer, self._before_answer = self._before_answer, None
        await before_answer(self)
        return False


async def test_a_commit_that_was_collected_and_whose_key_was_taken_again_is_not_committed_twice():
    async def years_pass(store):
        log = Log(store, grace_seconds=1)
        stale = MemoryStore()
        await commit(Log(stale), "another")
        await delete.delete_workflow(log, Request(KEYS, "d"), deadline=deadline())
        await fence.acquire_writer(log, Request(KEYS, "f"), deadline=deadline())
        for passed in (100, 200):
            await collect(log, KEYS, Retention(), time.time() + passed)
        assert await store.put_if_absent(KEYS.marker(1), (await stale.get(KEYS.marker(1))).data)

    with pytest.raises(HoldfastError) as unknown:
        await commit(Log(Interrupted(years_pass), grace_seconds=0), "a")
    assert unknown.value.reason is Reason.COMMIT_UNKNOWN


async def test_the_outcome_of_a_commit_is_unknown_if_the_head_after_it_is_damaged():
    async def head_rots(store):
        await commit(Log(store), "b")
        await store.delete(KEYS.marker(2))
        await store.put_if_absent(KEYS.marker(2), b"rot")

    with pytest.raises(HoldfastError) as unknown:
        await commit(Log(Interrupted(head_rots), grace_seconds=0), "a")
    assert unknown.value.reason is Reason.COMMIT_UNKNOWN


class Refusing(MemoryStore):
    """A store that refuses to put objects, either before or after it has stored them."""

    def __init__(self, *, is_stored):
        super().__init__()
        self._is_stored = is_stored

    async def put_if_absent(self, key, data):
        if self._is_stored:
            await super().put_if_absent(key, data)
        raise StoreAccessDeniedError("the store refuses access")


async def test_a_commit_that_is_stored_although_the_store_refused_it_is_acknowledged():
    log = Log(Refusing(is_stored=True))
    assert (await commit(log, "a")).entry.revision == 1
    assert (await log.head(KEYS)).revision == 1


async def test_a_commit_that_the_store_refuses_and_does_not_hold_raises_the_refusal():
    with pytest.raises(StoreAccessDeniedError):
        await commit(Log(Refusing(is_stored=False)), "a")


async def test_a_retry_does_not_commit_again_if_a_repair_may_have_given_up_its_first_attempt():
    store = MemoryStore()
    log = Log(store)
    await commit(log, "a")
    began = now()
    await commit(log, "b")
    store.objects.write(KEYS.marker(2), b"rot")
    assert (await fsck(Log(store), repair=True)).repaired == 1
    with pytest.raises(HoldfastError) as unknown:
        await commit(Log(store), "b", first_attempt_at=began)
    assert unknown.value.reason is Reason.COMMIT_UNKNOWN
    assert (await commit(Log(store), "c", first_attempt_at=now() + 3600)).entry.revision == 4
