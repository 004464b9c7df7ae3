"""Recent entries whose digests collide: a match is read, proves nothing by itself, and hides nothing."""

import pytest
from holdfast_server.layout.v1.marker_pb2 import Marker
from holdfast_server.protocol.checkpoints import load
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log import recent
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck

from tests.support.workflows import GRACE, KEYS, damage, workflow


class Same:
    """A digest that is the same for all ids."""

    def __init__(self, data):
        pass

    def digest(self):
        return b"x" * 32


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(recent, "sha256", Same)
    return workflow()


async def commit(run, checkpoint_id, request_id, data=b"same"):
    spec = CheckpointSpec(Request(KEYS, request_id), "f", 1, checkpoint_id=checkpoint_id)
    return await save(run.log, spec, [await run.upload(data, inline=9)], deadline=run.deadline())


async def found(run, checkpoint_id):
    return (await load.find(Log(run.log.store), KEYS, checkpoint_id, (), fallback=False)).entry.revision


async def test_requests_and_ids_with_the_same_digests_are_told_apart(run):
    for number in range(1, 6):
        done = await commit(run, f"c{number}", f"r{number}")
        assert (done.entry.revision, done.replayed) == (number, False)
    for number in range(1, 6):
        assert (await commit(run, f"c{number}", f"r{number}")).replayed
        assert await found(run, f"c{number}") == number
    with pytest.raises(HoldfastError) as caught:
        await commit(run, "c2", "r9", data=b"other")
    assert caught.value.reason is Reason.CHECKPOINT_ID_REUSED
    assert caught.value.metadata["revision"] == "2"
    with pytest.raises(HoldfastError) as caught:
        await found(run, "c9")
    assert caught.value.reason is Reason.CHECKPOINT_NOT_FOUND


async def test_a_damaged_entry_with_the_same_digest_hides_no_other_one(run):
    for number in range(1, 5):
        await commit(run, f"c{number}", f"r{number}")
    damage(run, KEYS.marker(3))
    assert await found(run, "c2") == 2
    assert (await commit(run, "c2", "r2")).replayed
    # Whether the damaged entry is that of the request or the id is not known.
    with pytest.raises(HoldfastError) as caught:
        await found(run, "c3")
    assert caught.value.reason is Reason.CHECKPOINT_CORRUPTED
    with pytest.raises(HoldfastError):
        await commit(run, "c3", "r3")


async def test_a_deleted_checkpoint_is_reported_as_deleted_and_others_are_found(run):
    for number in range(1, 4):
        await commit(run, f"c{number}", f"r{number}")
    await run.delete("c2")
    assert await found(run, "c1") == 1
    with pytest.raises(HoldfastError) as caught:
        await found(run, "c2")
    assert caught.value.reason is Reason.CHECKPOINT_DELETED


@pytest.mark.parametrize("version", [1, 2])
async def test_recent_entries_keep_their_revisions_over_the_gap_that_a_repair_leaves(version):
    run = workflow()
    run.log = Log(run.log.store, grace_seconds=GRACE, marker_version=version)
    for number in range(1, 6):
        await commit(run, f"c{number}", f"r{number}")
    for revision in (4, 5):
        damage(run, KEYS.marker(revision))
    await fsck(run.log, repair=True)
    run.log = Log(run.log.store, grace_seconds=GRACE, marker_version=2)
    done = await commit(run, "c7", "r7")
    assert done.entry.revision == 7
    head = done.entry.marker
    assert recent.revisions(head) == [7, 6, 3, 2, 1]
    for number in (1, 2, 3, 7):
        assert number in recent.with_request(head, f"r{number}")
        assert number in recent.with_checkpoint(head, f"c{number}")
        assert (await commit(run, f"c{number}", f"r{number}")).replayed


def test_only_the_newest_entries_above_the_floor_are_carried_over():
    head = None
    for revision in range(1, 41):
        marker = Marker(kind=1, revision=revision, request_id=f"r{revision}", checkpoint_id=f"c{revision}")
        marker.floor = 30 if revision > 35 else 0
        recent.remember(marker, head, 1 if revision < 5 else 2)
        assert recent.revisions(marker) == [*range(revision, max(marker.floor, revision - 16), -1)]
        head = marker
