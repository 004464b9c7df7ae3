"""The handle of a workflow: upkeep and its own writer's other calls never stop it; another writer always does."""

import io
import time

import holdfast
import pytest
from holdfast_server.protocol.gc import collect
from holdfast_server.protocol.keys import WorkflowKeys
from holdfast_server.protocol.log import Log
from holdfast_server.protocol.retention import Retention

FORMAT = holdfast.Format("test", 1)


async def collected(served):
    """A collection by another process that keeps one checkpoint. Returns whether it has appended to the log."""
    log, keys = Log(served.store), WorkflowKeys("n", "w")
    before = await log.known_revision(keys)
    await collect(log, keys, Retention(keep_last=1), time.time())
    return await log.known_revision(keys) > before


async def test_a_handle_saves_on_behind_its_own_prune(client):
    handle = client.workflow("n", "w")
    for number in range(3):
        await handle.save(b"%d" % number, format=FORMAT)
    assert await client.prune("n", "w", keep_last=1) == 2
    assert (await handle.save(b"3", format=FORMAT)).revision == 5


async def test_a_handle_saves_on_behind_collections_with_retention(served, client):
    handle = client.workflow("n", "w")
    await handle.acquire_writer()
    for number in range(6):
        await handle.save(b"%d" % number, format=FORMAT)
        assert await collected(served) is (number > 0)
    assert (await client.load("n", "w")).data == b"5"


async def test_a_handle_saves_on_behind_the_deletion_of_a_checkpoint(client):
    handle = client.workflow("n", "w")
    first = await handle.save(b"1", format=FORMAT)
    await handle.save(b"2", format=FORMAT)
    await client.delete("n", "w", first.checkpoint_id)
    await handle.save(b"3", format=FORMAT)


async def test_a_handle_goes_on_from_what_its_own_writer_saved_beside_it(client):
    handle = client.workflow("n", "w")
    await handle.acquire_writer()
    await handle.save(b"1", format=FORMAT)
    await client.save("n", "w", b"beside", format=FORMAT, epoch=handle.epoch)
    beside = await client.save("n", "w", b"beside", format=FORMAT, epoch=handle.epoch)
    saved = await handle.save(b"2", format=FORMAT)
    assert saved.parent_id == beside.checkpoint_id
    assert handle.revision == saved.revision


async def test_a_file_is_saved_whole_where_the_handle_gave_way_to_its_own_writer_first(client):
    handle = client.workflow("n", "w")
    await handle.acquire_writer()
    await handle.save(b"1", format=FORMAT)
    await client.save("n", "w", b"beside", format=FORMAT, epoch=handle.epoch)
    await handle.save(io.BytesIO(b"whole"), format=FORMAT)
    assert (await client.load("n", "w")).data == b"whole"


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_a_save_by_another_stops_a_handle_even_where_it_was_deleted_since(served, client, is_deleted):
    handle = client.workflow("n", "w")
    await handle.save(b"1", format=FORMAT)
    other = await client.save("n", "w", b"other", format=FORMAT)
    if is_deleted:
        await client.delete("n", "w", other.checkpoint_id)
        await collected(served)
    with pytest.raises(holdfast.RevisionConflictError, match="saved to") as caught:
        await handle.save(b"2", format=FORMAT)
    assert caught.value.metadata["last_save_revision"] == str(other.revision)


async def test_a_save_by_another_stops_a_handle_whose_own_writer_has_saved_since(client):
    handle = client.workflow("n", "w")
    await handle.acquire_writer()
    await handle.save(b"1", format=FORMAT)
    await client.save("n", "w", b"other", format=FORMAT)
    await client.save("n", "w", b"own", format=FORMAT, epoch=handle.epoch)
    with pytest.raises(holdfast.RevisionConflictError):
        await handle.save(b"2", format=FORMAT)


async def test_a_fence_by_another_stops_a_handle(client):
    without, owner = client.workflow("n", "w"), client.workflow("n", "v")
    await without.save(b"1", format=FORMAT)
    await client.acquire_writer("n", "w")
    with pytest.raises(holdfast.RevisionConflictError, match="another writer was acquired"):
        await without.save(b"2", format=FORMAT)
    await owner.acquire_writer()
    await owner.save(b"1", format=FORMAT)
    await client.acquire_writer("n", "v")
    with pytest.raises(holdfast.WriterFencedError):
        await owner.save(b"2", format=FORMAT)


async def test_the_deletion_of_the_workflow_by_another_stops_a_handle_until_it_begins_anew(client):
    handle = client.workflow("n", "w")
    await handle.save(b"1", format=FORMAT)
    await client.delete_workflow("n", "w")
    with pytest.raises(holdfast.RevisionConflictError, match="deleted"):
        await handle.save(b"2", format=FORMAT)
    with pytest.raises(holdfast.CheckpointNotFoundError):
        await client.load("n", "w")
    await client.workflow("n", "w").save(b"anew", format=FORMAT)


async def test_a_handle_that_acquires_the_workflow_late_still_sees_what_another_saved_before(client):
    handle = client.workflow("n", "w")
    await handle.save(b"1", format=FORMAT)
    await client.save("n", "w", b"other", format=FORMAT)
    await handle.acquire_writer()
    with pytest.raises(holdfast.RevisionConflictError):
        await handle.save(b"2", format=FORMAT)
    assert (await handle.resume(format=FORMAT)).data == b"other"
    await handle.save(b"2", format=FORMAT)
