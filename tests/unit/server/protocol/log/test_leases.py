"""Leases: a second writer is asked to wait while a lease is live. Only the epoch gives safety."""

import time
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

import pytest
from holdfast_server.protocol.checkpoints import delete, fence, prune
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log import next_marker
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.leases import Lease
from holdfast_server.protocol.log.log import Log

from tests.support.workflows import GRACE, KEYS, check, damage, workflow
from tests.unit.server.protocol.writers import collections, save

MINUTE = Lease(60.0, "first")


@contextmanager
def clock(ahead):
    """Set this server's clock ahead by so many seconds."""
    with mock.patch.object(next_marker, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + int(ahead * 1e9))):
        yield


async def acquire(run, name, lease=MINUTE, *, first_attempt_at=None):
    request = Request(KEYS, name, first_attempt_at=first_attempt_at)
    return await fence.acquire_writer(run.log, request, lease=lease, deadline=run.deadline())


async def held(run, lease=MINUTE):
    with pytest.raises(HoldfastError) as refused:
        await acquire(run, "refused", lease)
    assert refused.value.reason is Reason.LEASE_HELD
    return refused.value


async def test_another_acquisition_is_refused_during_a_lease_and_the_error_names_its_holder_and_end():
    run = workflow()
    await acquire(run, "a")
    for lease in (MINUTE, Lease(), Lease(1.0, "second")):
        refused = await held(run, lease)
        assert "leased to 'first' with epoch 1 until 2" in refused.message
        assert refused.metadata["holder"] == "first"
        assert 50 < float(refused.metadata["retry_after_seconds"]) <= 60
    assert await run.log.known_revision(KEYS) == 1


async def test_an_expired_lease_can_be_acquired_but_its_holder_may_save_until_then():
    run = workflow()
    await acquire(run, "a")
    with clock(61):
        await save(run, epoch=1)
    with clock(61 + 61):
        assert (await acquire(run, "b", Lease())).entry.marker.epoch == 2


async def test_force_evicts_the_holder_of_a_lease_and_its_next_save_is_fenced():
    run = workflow()
    await acquire(run, "a")
    await acquire(run, "b", Lease(force=True))
    with pytest.raises(HoldfastError) as fenced:
        await save(run, epoch=1)
    assert fenced.value.reason is Reason.WRITER_FENCED
    # The evicted lease no longer delays other writers.
    assert (await acquire(run, "c", Lease())).entry.marker.epoch == 3


async def test_saves_deletions_and_prunes_under_the_epoch_renew_a_lease():
    run = workflow()
    await acquire(run, "a")
    for number in range(4):
        await save(run, epoch=1, checkpoint_id=f"c{number}")
    doings = (
        lambda: save(run, epoch=1),
        lambda: delete.delete_checkpoint(run.log, Request(KEYS, "d", 1), "c0", deadline=run.deadline()),
        lambda: prune.delete_many(run.log, Request(KEYS, "m", 1), [3], deadline=run.deadline()),
        lambda: prune.prune(run.log, Request(KEYS, "p", 1), 1, deadline=run.deadline()),
        lambda: delete.delete_workflow(run.log, Request(KEYS, "w", 1), deadline=run.deadline()),
    )
    ahead = 0.0
    for doing in doings:
        ahead += 50
        with clock(ahead):
            await doing()
            await held(run)


async def test_saves_without_the_epoch_and_collections_leave_a_lease_as_it_was():
    run = workflow()
    await acquire(run, "a")
    with clock(50):
        await save(run)
        await save(run)
        assert await collections(run)
        await held(run)
    with clock(61):
        await acquire(run, "b")


async def test_the_retry_of_an_acquisition_is_replayed_during_its_own_lease():
    run = workflow()
    first = await acquire(run, "a")
    again = await acquire(run, "a")
    assert again.replayed
    assert again.entry.marker.epoch == first.entry.marker.epoch


async def test_a_slow_clock_neither_shortens_a_lease_nor_asks_to_wait_longer_than_the_lease():
    run = workflow()
    with clock(3600):
        await acquire(run, "a")
    await save(run, epoch=1)
    refused = await held(run)
    assert float(refused.metadata["retry_after_seconds"]) == 60
    with clock(3600 + 30):
        await held(run)
    with clock(3600 + 61):
        await acquire(run, "b")


async def test_an_acquisition_by_an_overtaken_run_is_a_conflict_instead_of_a_request_to_wait():
    run = workflow()
    await acquire(run, "a")
    await save(run, epoch=1)
    with pytest.raises(HoldfastError) as refused:
        await fence.acquire_writer(run.log, Request(KEYS, "b"), expected_revision=1, deadline=run.deadline())
    assert refused.value.reason is Reason.REVISION_CONFLICT


async def test_a_repair_ends_the_lease_of_the_writer_that_it_fences():
    run = workflow()
    await acquire(run, "a")
    await save(run, epoch=1)
    damage(run, KEYS.marker(2))
    run.log = Log(run.log.store, grace_seconds=GRACE)
    await check(run, repair=True)
    assert (await acquire(run, "b", Lease())).entry.marker.epoch > 2
