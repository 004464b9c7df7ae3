"""The check of a store names objects that a log which was rolled back has left above its head."""

import pytest
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.log import fresh_ids

from tests.support.workflows import KEYS, check, workflow


async def roll_back(run, revisions):
    """Remove the newest markers."""
    newest = await run.log.newest(KEYS)
    for revision in range(newest - revisions + 1, newest + 1):
        await run.log.store.delete(KEYS.marker(revision))


async def signs(run):
    _, findings = await check(run)
    return [each for each in findings if "newer markers were removed" in each.what]


async def test_a_blob_of_a_removed_checkpoint_is_a_sign():
    run = workflow()
    for _ in range(5):
        await run.save()
    assert await signs(run) == []
    await roll_back(run, 2)
    (finding,) = await signs(run)
    assert finding.key.startswith(KEYS.blobs)
    assert "names revision 4, but the newest marker is of revision 3 (1 such objects)" in finding.what


async def test_a_claim_of_a_removed_checkpoint_is_a_sign():
    run = workflow()
    part = await run.upload(b"x", inline=100)
    for number in range(5):
        await run.save(parts=[part], checkpoint_id=f"c{number}")
    await roll_back(run, 3)
    (finding,) = await signs(run)
    assert finding.key == KEYS.claim(0, "c4")
    assert "revision 4, but the newest marker is of revision 2 (2 such" in finding.what


async def test_a_claim_of_a_removed_generation_is_a_sign():
    run = workflow()
    await run.save()
    await run.save()
    await run.delete_workflow()
    await run.save(parts=[await run.upload(b"x", inline=100)], checkpoint_id="c")
    await roll_back(run, 2)
    assert KEYS.claim(3, "c") in [each.key for each in await signs(run)]


async def test_an_object_of_the_index_of_removed_revisions_is_a_sign():
    run = workflow()
    await run.save_fresh(
        *(f"c{number}" for number in range(3 * fresh_ids.BLOCK if hasattr(fresh_ids, "BLOCK") else 80))
    )
    indexes = [key for key in await run.objects() if key.startswith(KEYS.indexes)]
    assert indexes
    await roll_back(run, await run.log.newest(KEYS) - 2)
    assert [each.key for each in await signs(run)] == [max(indexes)]


async def test_a_log_that_was_removed_as_a_whole_is_named_by_what_it_has_left():
    run = workflow()
    for _ in range(3):
        await run.save()
    await roll_back(run, 3)
    (finding,) = await signs(run)
    assert "the newest marker is of revision 0" in finding.what


@pytest.mark.parametrize("is_late", [False, True])
async def test_saves_in_flight_are_no_sign(is_late):
    run = workflow()
    for number in range(3):
        await run.save(checkpoint_id=f"c{number}")
    await run.upload()
    if is_late:
        # A save that another writer overtakes, and a collection.
        await run.save()
        await run.collect(Retention(keep_last=1), passed=2000.0)
    await run.delete_workflow()
    await run.upload()
    await run.save(checkpoint_id="again")
    assert await signs(run) == []


async def test_a_copy_has_no_sign_although_its_records_name_ids_of_its_source():
    run = workflow()
    for _ in range(3):
        await run.save()
    await run.delete_workflow()
    assert await signs(run) == []
