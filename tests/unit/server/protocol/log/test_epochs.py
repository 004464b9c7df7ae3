"""Epochs: only AcquireWriter issues them, and every call must name the newest one."""

import pytest
from holdfast_server.protocol.checkpoints import delete, fence, prune
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log

from tests.support.workflows import GRACE, KEYS, workflow
from tests.unit.server.protocol.writers import acquire, collections, conflict, save


async def delete_many(log, request, deadline):
    await prune.delete_many(log, request, [1], deadline=deadline)


async def prune_all(log, request, deadline):
    await prune.prune(log, request, 1, deadline=deadline)


async def delete_one(log, request, deadline):
    await delete.delete_checkpoint(log, request, "1", deadline=deadline)


async def delete_workflow(log, request, deadline):
    await delete.delete_workflow(log, request, deadline=deadline)


async def attach(log, request, deadline):
    await fence.require_unfenced(log, request)


@pytest.mark.parametrize("call", [delete_many, prune_all, delete_one, delete_workflow, attach])
@pytest.mark.parametrize("epoch", [2, 1 << 62])
async def test_no_call_changes_anything_under_an_epoch_that_was_never_issued(call, epoch):
    run = workflow()
    for name in "12":
        await save(run, checkpoint_id=name)
    await acquire(run, "a")
    with pytest.raises(HoldfastError) as refused:
        await call(run.log, Request(KEYS, "r", epoch), run.deadline())
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert refused.value.metadata == {
        "field": "epoch",
        "epoch": str(epoch),
        "head_epoch": "1",
        "head_revision": "3",
        "head_digest": (await run.log.head(KEYS)).digest.hex(),
    }
    assert await run.log.known_revision(KEYS) == 3
    await call(run.log, Request(KEYS, "r", 1), run.deadline())


@pytest.mark.parametrize("begun", [False, True])
async def test_a_save_under_an_epoch_that_was_never_issued_leaves_the_workflow_usable(begun):
    run = workflow()
    if begun:
        await save(run)
    with pytest.raises(HoldfastError) as refused:
        await save(run, epoch=1 << 62)
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert str(1 << 62) in refused.value.message
    assert (await acquire(run, "a")).marker.writer_epoch == 1
    await save(run, epoch=1)


async def test_records_under_an_epoch_are_refused_if_the_workflow_was_never_acquired():
    with pytest.raises(HoldfastError) as refused:
        await fence.require_unfenced(workflow().log, Request(KEYS, "r", 1))
    assert refused.value.reason is Reason.INVALID_REQUEST


async def test_a_server_that_has_not_seen_the_fence_yet_accepts_its_epoch():
    run = workflow()
    await save(run)
    stale = Log(run.log.store, grace_seconds=GRACE)
    assert await stale.known_revision(KEYS) == 1
    await acquire(run, "a")
    run.log = stale
    assert await save(run, epoch=1) == 3


async def test_an_epoch_outlives_the_deletion_of_the_workflow_and_collections():
    run = workflow()
    await save(run)
    await acquire(run, "a")
    await run.delete_workflow()
    await collections(run)
    await save(run, epoch=1)
    assert (await acquire(run, "b")).marker.writer_epoch == 2


async def acquire_since(run, name, expected_revision):
    request = Request(KEYS, name)
    return await fence.acquire_writer(run.log, request, expected_revision=expected_revision, deadline=run.deadline())


async def test_a_writer_acquires_the_head_that_it_began_from_after_later_collections():
    run = workflow()
    for _ in range(3):
        began = await save(run)
    assert await collections(run)
    assert (await acquire_since(run, "a", began)).entry.marker.writer_epoch == 1
    await save(run, epoch=1, expected_revision=began)


async def test_an_acquisition_by_an_overtaken_run_is_refused_and_fences_nobody():
    run = workflow()
    began = await save(run)
    await acquire_since(run, "a", began)
    newer = await save(run, epoch=1)
    for expected in (began, 0):
        with pytest.raises(HoldfastError) as refused:
            await acquire_since(run, "b", expected)
        assert refused.value.reason is Reason.REVISION_CONFLICT
    await save(run, epoch=1)
    await conflict(run, epoch=1, expected_revision=newer)


async def test_a_later_fence_stands_against_an_acquisition():
    run = workflow()
    began = await save(run)
    await acquire_since(run, "a", began)
    with pytest.raises(HoldfastError, match="another writer was acquired") as refused:
        await acquire_since(run, "b", began)
    assert refused.value.reason is Reason.REVISION_CONFLICT


async def test_a_retried_acquisition_is_replayed_although_its_own_fence_is_in_the_log():
    run = workflow()
    began = await save(run)
    first = await acquire_since(run, "a", began)
    again = await acquire_since(run, "a", began)
    assert again.replayed
    assert again.entry.marker.writer_epoch == first.entry.marker.writer_epoch


async def test_the_first_writer_of_a_workflow_acquires_it_while_it_holds_no_checkpoint():
    run = workflow()
    assert (await acquire_since(run, "a", 0)).entry.revision == 1
    await save(run, epoch=1)
    with pytest.raises(HoldfastError) as refused:
        await acquire_since(run, "b", 0)
    assert refused.value.reason is Reason.REVISION_CONFLICT
