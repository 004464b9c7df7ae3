"""Short forms of a writer's requests, and of the collections that run between them."""

import pytest
from holdfast_server.protocol.checkpoints import fence
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log.append_once import Request

from tests.support.workflows import GRACE, KEYS

KEEP_ONE = Retention(keep_last=1)


def request(name, epoch=None):
    return Request(KEYS, name, epoch)


async def save(run, **fields):
    """Save and return the revision."""
    return (await run.save(**fields)).revision


async def acquire(run, name):
    return (await fence.acquire_writer(run.log, request(name), deadline=run.deadline())).entry


async def conflict(run, **fields):
    with pytest.raises(HoldfastError) as refused:
        await save(run, **fields)
    assert refused.value.reason is Reason.REVISION_CONFLICT, refused.value.message
    return refused.value


async def collections(run):
    """Collect with retention until nothing changes. Return the number of entries that were added to the log."""
    before = await run.log.known_revision(KEYS)
    for passed in (0.0, GRACE * 1.5, GRACE * 3):
        await run.collect(KEEP_ONE, passed=passed)
    return await run.log.known_revision(KEYS) - before
