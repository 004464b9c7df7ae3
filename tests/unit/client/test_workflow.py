"""The handle of a workflow: collections and its own writer's calls never stop it; another writer always does."""

import asyncio
import datetime
import io
import os
import time

import holdfast
import pytest
from holdfast._core.holders import this_process
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.gc import collect

FORMAT = holdfast.Format("test", 1)


async def collected(served):
    """Collect as another process, keeping one checkpoint. Return whether this appended to the log."""
    log, keys = Log(served.store), WorkflowKeys("n", "w")
    before = await log.known_revision(keys)
    await collect(log, keys, Retention(keep_last=1), time.time())
    return await log.known_revision(keys) > before


async def test_a_handle_can_save_after_its_own_prune(client):
    handle = client.workflow("n", "w")
    for number in range(3):
        await handle.save(b"%d" % number, format=FORMAT)
    assert await client.prune("n", "w", keep_last=1) == 2
    assert (await handle.save(b"3", format=FORMAT)).revision == 5


@pytest.mark.remote_only("the test collects garbage in the store")
async def test_a_handle_can_save_after_collections_with_retention(served, client):
    handle = client.workflow("n", "w")
    await handle.acquire_writer()
    for number in range(6):
        await handle.save(b"%d" % number, format=FORMAT)
        assert await collected(served) is (number > 0)
    assert (await client.load("n", "w")).data == b"5"


async def test_a_handle_can_save_after_the_deletion_of_a_checkpoint(client):
    handle = client.workflow("n", "w")
    first = await handle.save(b"1", format=FORMAT)
    await handle.save(b"2", format=FORMAT)
    await client.delete("n", "w", first.checkpoint_id)
    await handle.save(b"3", format=FORMAT)


async def test_a_handle_continues_after_saves_that_its_own_writer_made_beside_it(client):
    handle = client.workflow("n", "w")
    await handle.acquire_writer()
    await handle.save(b"1", format=FORMAT)
    await client.save("n", "w", b"beside", format=FORMAT, epoch=handle.epoch)
    beside = await client.save("n", "w", b"beside", format=FORMAT, epoch=handle.epoch)
    saved = await handle.save(b"2", format=FORMAT)
    assert saved.parent_id == beside.checkpoint_id
    assert handle.revision == saved.revision


async def test_a_file_is_saved_whole_after_a_save_that_the_handles_own_writer_made_beside_it(client):
    handle = client.workflow("n", "w")
    await handle.acquire_writer()
    await handle.save(b"1", format=FORMAT)
    await client.save("n", "w", b"beside", format=FORMAT, epoch=handle.epoch)
    await handle.save(io.BytesIO(b"whole"), format=FORMAT)
    assert (await client.load("n", "w")).data == b"whole"


@pytest.mark.remote_only("the test reads the store")
@pytest.mark.parametrize("is_deleted", [False, True])
async def test_a_save_by_another_writer_stops_a_handle_even_if_it_was_deleted(served, client, is_deleted):
    handle = client.workflow("n", "w")
    await handle.save(b"1", format=FORMAT)
    other = await client.save("n", "w", b"other", format=FORMAT)
    if is_deleted:
        await client.delete("n", "w", other.checkpoint_id)
        await collected(served)
    with pytest.raises(holdfast.RevisionConflictError, match="saved to") as caught:
        await handle.save(b"2", format=FORMAT)
    assert caught.value.metadata["last_save_revision"] == str(other.revision)


async def test_a_save_by_another_writer_stops_a_handle_whose_own_writer_has_saved_later(client):
    handle = client.workflow("n", "w")
    await handle.acquire_writer()
    await handle.save(b"1", format=FORMAT)
    await client.save("n", "w", b"other", format=FORMAT)
    await client.save("n", "w", b"own", format=FORMAT, epoch=handle.epoch)
    with pytest.raises(holdfast.RevisionConflictError):
        await handle.save(b"2", format=FORMAT)


async def test_a_fence_by_another_writer_stops_a_handle(client):
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


async def test_a_deletion_of_the_workflow_by_another_stops_a_handle_until_it_begins_again(client):
    handle = client.workflow("n", "w")
    await handle.save(b"1", format=FORMAT)
    await client.delete_workflow("n", "w")
    with pytest.raises(holdfast.RevisionConflictError, match="deleted"):
        await handle.save(b"2", format=FORMAT)
    with pytest.raises(holdfast.CheckpointNotFoundError):
        await client.load("n", "w")
    await client.workflow("n", "w").save(b"again", format=FORMAT)


async def test_a_handle_that_acquires_the_workflow_late_still_detects_an_earlier_save_by_another(client):
    handle = client.workflow("n", "w")
    await handle.save(b"1", format=FORMAT)
    await client.save("n", "w", b"other", format=FORMAT)
    await handle.acquire_writer()
    with pytest.raises(holdfast.RevisionConflictError):
        await handle.save(b"2", format=FORMAT)
    assert (await handle.resume(format=FORMAT)).data == b"other"
    await handle.save(b"2", format=FORMAT)


async def test_of_two_runs_that_began_from_one_checkpoint_one_acquires_the_workflow(client):
    await client.save("n", "w", b"1", format=FORMAT)
    first, second = client.workflow("n", "w"), client.workflow("n", "w")
    for each in (first, second):
        await each.resume(format=FORMAT)
    await first.acquire_writer(expected_revision=first.revision)
    with pytest.raises(holdfast.RevisionConflictError, match="another writer was acquired"):
        await second.acquire_writer(expected_revision=second.revision)
    await first.save(b"2", format=FORMAT)
    with pytest.raises(holdfast.RevisionConflictError, match="saved to"):
        await client.acquire_writer("n", "w", expected_revision=1)


async def test_every_call_refuses_an_epoch_that_was_never_issued(client):
    await client.save("n", "w", b"1", format=FORMAT, checkpoint_id="c", labels={"a": "b"})
    for call in (
        client.save("n", "w", b"2", format=FORMAT, epoch=1),
        client.delete("n", "w", "c", epoch=1),
        client.delete_checkpoints("n", "w", labels={"a": "b"}, epoch=1),
        client.prune("n", "w", epoch=1),
        client.attach("n", "w", "c", [holdfast.Record("k", b"v")], epoch=1),
        client.delete_workflow("n", "w", epoch=1),
        client.save("n", "new", b"1", format=FORMAT, epoch=1 << 62),
    ):
        with pytest.raises(holdfast.InvalidRequestError, match="was never given to a writer") as caught:
            await call
        ((field, _),) = caught.value.field_violations
        assert field == "epoch"
    assert [each.checkpoint_id async for each in client.list("n", "w")] == ["c"]
    assert (await client.acquire_writer("n", "new")).epoch == 1


async def test_a_handle_has_every_call_that_a_job_needs(client, tmp_path):
    handle = client.workflow("n", "w")
    await handle.acquire_writer()
    sent, received = [], []
    payload = bytes(range(256)) * 12_000
    saved = await handle.save(
        payload,
        format=FORMAT,
        labels={"step": "1"},
        ttl=datetime.timedelta(days=1),
        progress=lambda done, whole: sent.append((done, whole)),
    )
    assert saved.expires is not None
    assert sent[-1] == (len(payload), len(payload))
    await handle.attach([holdfast.Record("k", b"v")])
    assert await handle.records() == (holdfast.Record("k", b"v"),)
    await handle.save({"a": b"1", "b": b"2"}, format=FORMAT, needs_parent=True)
    await handle.save(b"3", format=FORMAT, parent_id="")
    assert await handle.prune(keep_last=2) == 0
    assert await handle.prune() == 2
    newest = await handle.load()
    assert (newest.data, newest.info.parent_id) == (b"3", "")
    resumed = await client.workflow("n", "w").resume(format=FORMAT, records=True)
    assert resumed.records == ()
    large = await handle.save(payload, format=FORMAT)
    target = tmp_path / "state.bin"
    loaded = await handle.load_to(target, progress=lambda done, whole: received.append((done, whole)))
    assert loaded.checkpoint_id == large.checkpoint_id
    assert target.read_bytes() == payload
    assert received[-1] == (len(payload), len(payload))
    assert list(tmp_path.glob(".state*")) == []


async def test_a_failed_load_into_a_file_leaves_the_file_as_it_was(client, tmp_path):
    handle = client.workflow("n", "w")
    target = tmp_path / "state.bin"
    target.write_bytes(b"old")
    with pytest.raises(holdfast.WorkflowNotFoundError):
        await handle.load_to(target)
    await handle.save({"a": b"1", "b": b"2"}, format=FORMAT)
    for part in (None, "c"):
        with pytest.raises(holdfast.InvalidRequestError, match="must be one of 'a', 'b'"):
            await handle.load_to(target, part=part)
    with pytest.raises(FileNotFoundError):
        await handle.load_to(tmp_path / "no" / "folder", part="a")
    assert target.read_bytes() == b"old"
    target.chmod(0o600)
    await handle.load_to(str(target), part="b")
    assert target.read_bytes() == b"2"
    assert target.stat().st_mode & 0o777 == 0o600


async def test_records_of_a_handle_need_a_checkpoint(client):
    handle = client.workflow("n", "w")
    with pytest.raises(holdfast.InvalidRequestError, match="checkpoint_id"):
        await handle.attach([holdfast.Record("k", b"v")])
    await handle.attach([holdfast.Record("k", b"v")], checkpoint_id="later")
    assert await handle.records("later") == (holdfast.Record("k", b"v"),)


async def test_a_fenced_handle_neither_prunes_nor_attaches(client):
    handle = client.workflow("n", "w")
    await handle.acquire_writer()
    await handle.save(b"1", format=FORMAT)
    await client.acquire_writer("n", "w")
    for call in (handle.prune(), handle.attach([holdfast.Record("k", b"v")])):
        with pytest.raises(holdfast.WriterFencedError):
            await call


async def test_a_second_worker_is_refused_during_the_lease_of_the_first(client):
    first, second = client.workflow("n", "w"), client.workflow("n", "w")
    writer = await first.acquire_writer(lease=datetime.timedelta(minutes=1))
    assert writer.lease_expires > datetime.datetime.now(datetime.UTC)
    await first.save(b"1", format=FORMAT)
    with pytest.raises(holdfast.LeaseHeldError, match="the workflow is leased to ") as caught:
        await second.acquire_writer(lease=datetime.timedelta(minutes=1))
    assert 50 < caught.value.retry_after_seconds <= 60
    assert caught.value.metadata["holder"].endswith(f":{os.getpid()}")
    assert not caught.value.retryable
    with pytest.raises(holdfast.LeaseHeldError):
        await client.acquire_writer("n", "w")
    await first.save(b"2", format=FORMAT)
    assert (await second.acquire_writer(force=True)).lease_expires is None
    with pytest.raises(holdfast.WriterFencedError):
        await first.save(b"3", format=FORMAT)
    await first.acquire_writer()


async def test_a_workflow_can_be_acquired_once_its_lease_has_expired(client):
    await client.acquire_writer("n", "w", lease=datetime.timedelta(seconds=1), holder="worker-7")
    with pytest.raises(holdfast.LeaseHeldError, match="worker-7") as caught:
        await client.acquire_writer("n", "w")
    await asyncio.sleep(caught.value.retry_after_seconds)
    assert (await client.acquire_writer("n", "w")).epoch == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"lease": datetime.timedelta()}, "lease"),
        ({"lease": datetime.timedelta(seconds=-1)}, "lease"),
        ({"lease": datetime.timedelta(days=32)}, "lease"),
        ({"lease": datetime.timedelta.max}, "lease"),
        ({"holder": "me"}, "holder"),
        ({"holder": "x" * 129, "lease": datetime.timedelta(1)}, "holder"),
        ({"holder": "a\nb", "lease": datetime.timedelta(1)}, "holder"),
        ({"expected_revision": -1}, "expected_revision"),
    ],
)
async def test_an_invalid_argument_of_an_acquisition_is_named_in_the_error(client, arguments, named):
    with pytest.raises(holdfast.InvalidRequestError, match=named):
        await client.acquire_writer("n", "w", **arguments)
    with pytest.raises(holdfast.WorkflowNotFoundError):
        await client.load("n", "w")


@pytest.mark.parametrize("arguments", [{"lease": 60}, {"holder": b"me"}, {"force": 1}, {"expected_revision": "1"}])
async def test_a_wrong_type_in_an_acquisition_is_a_type_error(client, arguments):
    with pytest.raises(TypeError, match=next(iter(arguments))):
        await client.acquire_writer("n", "w", **arguments)


def test_the_default_name_of_a_holder_is_a_valid_name_for_any_host_name(monkeypatch):
    for host in ("worker-7", "a/b\n", "ü" * 300, ""):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        name = this_process()
        assert name.endswith(f":{os.getpid()}")
        assert len(name) <= 128
        assert "/" not in name
        assert name.isascii()
        assert name.isprintable()
