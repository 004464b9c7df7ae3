"""Compare-and-set: which entries after the expected revision stand against a save."""

import pytest
from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.protocol.checkpoints import prune
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.log import compare_and_set
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log

from tests.support.workflows import GRACE, KEYS, workflow
from tests.unit.server.protocol.writers import acquire, collections, conflict, request, save


async def test_collections_prunes_and_deletions_of_checkpoints_do_not_stand_against_a_save():
    run = workflow()
    for _ in range(3):
        await save(run)
    first = (await run.save()).marker.checkpoint_id
    newest = await save(run, checkpoint_id="mine")
    await run.delete(first)
    await prune.prune(run.log, request("p"), 2, deadline=run.deadline())
    assert await collections(run) > 0
    assert await save(run, expected_revision=newest) == await run.log.known_revision(KEYS)


async def test_the_deletion_of_the_very_checkpoint_that_was_saved_last_does_not_stand_against_the_next_save():
    run = workflow()
    newest = await save(run, checkpoint_id="mine")
    await run.delete("mine")
    await save(run, expected_revision=newest)


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_save_by_another_writer_stands_against_a_save_even_after_its_deletion_and_collection(deleted):
    run = workflow()
    mine = await save(run)
    other = await save(run, checkpoint_id="other")
    if deleted:
        await run.delete("other")
    await collections(run)
    refused = await conflict(run, expected_revision=mine)
    assert refused.metadata["last_save_revision"] == str(other)
    assert refused.metadata["last_save_epoch"] == "0"
    assert refused.metadata["head_revision"] == str(await run.log.known_revision(KEYS))


async def test_a_save_under_the_same_epoch_stands_against_a_save_and_the_error_names_its_writer():
    run = workflow()
    fence = await acquire(run, "a")
    mine = await save(run, epoch=1, expected_revision=fence.revision)
    beside = await save(run, epoch=1)
    refused = await conflict(run, epoch=1, expected_revision=mine)
    assert refused.metadata["last_save_revision"] == str(beside)
    assert refused.metadata["last_save_epoch"] == "1"
    assert refused.metadata["last_other_save_revision"] == "0"


async def test_the_error_names_a_save_of_another_writer_between_two_of_one_epoch():
    run = workflow()
    await acquire(run, "a")
    mine = await save(run, epoch=1)
    other = await save(run)
    await save(run, epoch=1)
    refused = await conflict(run, epoch=1, expected_revision=mine)
    assert refused.metadata["last_save_epoch"] == "1"
    assert refused.metadata["last_other_save_revision"] == str(other)


async def test_saves_without_an_epoch_belong_to_no_writer():
    run = workflow()
    mine = await save(run)
    await save(run)
    refused = await conflict(run, expected_revision=mine)
    assert refused.metadata["last_save_epoch"] == "0"
    assert int(refused.metadata["last_other_save_revision"]) == mine


async def test_a_fence_does_not_stand_against_its_own_epoch_but_against_every_other_request():
    run = workflow()
    mine = await save(run)
    await acquire(run, "a")
    await conflict(run, expected_revision=mine)
    await save(run, epoch=1, expected_revision=mine)


async def test_a_fence_of_another_writer_before_ones_own_stands_against_a_save():
    run = workflow()
    mine = await save(run)
    await acquire(run, "other")
    own = await acquire(run, "own")
    await conflict(run, epoch=2, expected_revision=mine)
    await save(run, epoch=2, expected_revision=own.revision)


async def test_the_deletion_of_the_workflow_stands_against_the_next_save_of_a_run():
    run = workflow()
    mine = await save(run)
    await run.delete_workflow()
    refused = await conflict(run, expected_revision=mine)
    assert "deleted" in refused.message
    await collections(run)
    await conflict(run, expected_revision=mine)
    await save(run, expected_revision=0)


async def test_a_run_may_begin_after_the_deletion_of_the_workflow():
    run = workflow()
    await save(run)
    await run.delete_workflow()
    deleted = await run.log.known_revision(KEYS)
    await save(run, expected_revision=deleted)


async def test_a_revision_that_does_not_exist_yet_is_a_conflict():
    run = workflow()
    await conflict(run, expected_revision=1)
    await save(run)
    refused = await conflict(run, expected_revision=7)
    assert refused.message == "expected revision 7, the head is revision 1"


async def test_to_expect_no_checkpoint_is_a_conflict_if_there_is_one():
    run = workflow()
    await save(run)
    await collections(run)
    await conflict(run, expected_revision=0)


async def older(run):
    """Replace the head by one from an older server, which did not know these fields."""
    head = await run.log.head(KEYS)
    marker = Marker()
    marker.CopyFrom(head.marker)
    for field in (
        "last_save_revision",
        "last_save_epoch",
        "last_other_save_revision",
        "last_fence_revision",
        "previous_fence_revision",
    ):
        marker.ClearField(field)
    key = KEYS.marker(head.revision)
    await run.log.store.delete(key)
    await run.log.store.put_if_absent(key, marker_codec.encode(marker, key))
    run.log = Log(run.log.store, grace_seconds=GRACE)


async def test_after_the_head_of_an_older_server_only_the_head_itself_may_be_expected():
    run = workflow()
    mine = await save(run)
    doomed = (await run.save()).marker.checkpoint_id
    await run.delete(doomed)
    await older(run)
    head = await run.log.known_revision(KEYS)
    refused = await conflict(run, expected_revision=mine)
    assert "last_save_revision" not in refused.metadata
    await save(run, expected_revision=head)


async def test_entries_after_that_of_an_older_server_assume_a_conflict_before_it():
    run = workflow()
    mine = await save(run)
    kept = await save(run, checkpoint_id="kept")
    await older(run)
    await prune.prune(run.log, request("p"), 1, deadline=run.deadline())
    await conflict(run, expected_revision=mine)
    await save(run, expected_revision=kept)


async def test_after_a_repair_every_expected_revision_of_before_is_a_conflict():
    run = workflow()
    mine = await save(run)
    marker = Marker(kind=MarkerKind.MARKER_KIND_FENCE, revision=9, epoch=3)
    compare_and_set.assume_all(marker, 8)
    compare_and_set.enter_fence(marker)
    for revision in (mine, 8):
        for epoch in (None, 2, 3):
            if (revision, epoch) != (8, 3):
                with pytest.raises(HoldfastError):
                    compare_and_set.require(Entry(marker, b"", 0), revision, epoch)
    compare_and_set.require(Entry(marker, b"", 0), 9, None)
