"""Requests that do not say which attempt they are, called directly on the protocol."""

import pytest
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log import request_index
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.replays import LONG_AGO
from holdfast_server.protocol.log.request_index import RequestIndex

from tests.support.workflows import GRACE, KEYS, damage, workflow


async def commit(run, request_id, **fields):
    spec = CheckpointSpec(Request(KEYS, request_id, **fields), "f", 1)
    return await save(run.log, spec, [await run.upload(request_id.encode(), inline=100)], deadline=run.deadline())


async def test_a_later_commit_of_another_server_is_replayed():
    run, other = workflow(), workflow()
    other.log = Log(run.log.store, grace_seconds=GRACE)
    await commit(run, "mine", is_silent=True)
    for number in range(20):
        await commit(run, f"a{number}", is_silent=True)
        await commit(other, f"b{number}")
    for name in ("mine", "a3", "b3"):
        assert (await commit(run, name, is_silent=True)).replayed
        assert (await commit(other, name, is_silent=True)).replayed


async def test_damage_stops_a_retry_but_not_a_request_that_may_be_a_first_attempt():
    run = workflow()
    for number in range(20):
        await commit(run, f"a{number}")
    damage(run, KEYS.marker(2))
    with pytest.raises(HoldfastError) as unknown:
        await commit(run, "new", first_attempt_at=LONG_AGO)
    assert unknown.value.reason is Reason.COMMIT_UNKNOWN
    assert not (await commit(run, "new", is_silent=True)).replayed
    assert (await commit(run, "a2", is_silent=True)).replayed


async def test_the_search_for_a_retry_of_unknown_age_reaches_across_a_deletion_of_the_workflow():
    run = workflow()
    await commit(run, "first")
    await run.delete_workflow()
    for number in range(20):
        await commit(run, f"a{number}")
    assert (await commit(run, "first", first_attempt_at=LONG_AGO)).replayed
    assert not (await commit(run, "new", first_attempt_at=LONG_AGO)).replayed
    assert (await commit(run, "first", is_silent=True)).replayed


def test_request_ids_are_kept_up_to_a_limit_and_those_of_other_workflows_are_evicted_first(monkeypatch):
    monkeypatch.setattr(request_index, "_MOST_IDS", 10)
    kept = RequestIndex()
    other, seen = kept.start("other", 0), kept.start("w", 0)
    for revision in range(1, 6):
        kept.add(other, revision, f"o{revision}")
    for revision in range(1, 31):
        kept.add(seen, revision, f"r{revision}")
    assert kept.get("other") is None
    assert kept.get("w") is seen
    assert seen.last == 30
    assert len(seen.revisions) <= 10
    assert 30 in seen.revisions.values()
