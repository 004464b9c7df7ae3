"""Purges: when the call returns, the bytes of the purged checkpoints are gone and no others."""

import time
import uuid
from contextlib import suppress
from functools import partial

import pytest
from holdfast_server.layout.v1.marker_pb2 import RecordBatch
from holdfast_server.protocol.checkpoints import delete, load, records
from holdfast_server.protocol.checkpoints.copy import copy_workflow
from holdfast_server.protocol.checkpoints.purge import purge, purge_workflow
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.checkpoints.validate import validate
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.stores.base import StoreUnavailableError

from tests.support.cut_store import CutStore
from tests.support.workflows import GRACE, KEYS, Workflow

SECRET = b"the-secret-"


class Secret(Workflow):
    """A workflow whose checkpoints hold secrets everywhere that a caller may put bytes."""

    def __init__(self, store=None):
        super().__init__(Log(store or CutStore(), grace_seconds=GRACE))

    async def keep(self, checkpoint_id, **fields):
        name = SECRET + checkpoint_id.encode()
        parts = [await self.upload(name * 30), await self.upload(name, inline=100)]
        parts[1].name = f"p-{name.decode()}"
        text = name.decode()
        entry = await self.save(
            parts=parts,
            checkpoint_id=checkpoint_id,
            labels={text: text},
            producer_name=text,
            parent_id=text,
            **fields,
        )
        batch = RecordBatch(checkpoint_id=checkpoint_id, request_id=uuid.uuid4().hex, stamp=entry.revision)
        batch.records.add(key=text, data=name)
        await records.attach(self.log, self.keys, batch, deadline=self.deadline())
        return entry

    def again(self):
        """Continue as another server of the same store."""
        self.log = Log(self.log.store, grace_seconds=GRACE)
        return self

    async def purge(self, checkpoint_id, request_id="purge", *, is_retry=False):
        asked = Request(self.keys, request_id, first_attempt_at=_now() - 1 if is_retry else None)
        return await purge(self.log, asked, checkpoint_id, deadline=self.deadline())

    async def purge_all(self, request_id="purge", *, is_retry=False):
        asked = Request(self.keys, request_id, first_attempt_at=_now() - 1 if is_retry else None)
        attached = [each.key for each in await self.log.store.list(self.keys.records)]
        return await purge_workflow(self.log, asked, attached, deadline=self.deadline())

    def where(self, checkpoint_id=""):
        """Return the keys of the objects that hold a secret."""
        secret = SECRET + checkpoint_id.encode()
        return [key for key, (data, _) in self.log.store.objects.by_key.items() if secret in data]

    def age(self, seconds=10.0):
        objects = self.log.store.objects.by_key
        for key, (data, modified) in objects.items():
            objects[key] = (data, modified - seconds)

    async def left(self):
        return [entry.marker.checkpoint_id async for entry in load.history(self.again().log, self.keys, None)]


def _now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def reason(call):
    with pytest.raises(HoldfastError) as caught:
        await call
    return caught.value.reason


async def kept(*names):
    run = Secret()
    for name in names:
        await run.keep(name)
    return run


async def test_a_purge_removes_everything_of_its_checkpoint_and_nothing_of_the_others():
    run = await kept("a", "b", "c")
    assert len(run.where("b")) == 3
    before = {key: each for key, each in run.log.store.objects.by_key.items() if key in run.where("a") + run.where("c")}
    await run.purge("b")
    assert run.where("b") == []
    assert {key: run.log.store.objects.by_key[key] for key in before} == before
    assert await run.left() == ["c", "a"]
    assert await reason(load.find(run.log, KEYS, "b", (), fallback=False)) is Reason.CHECKPOINT_DELETED
    assert (await validate(run.log, KEYS, "a", load.Depth.CHECKSUM, ())).resumable


async def test_after_a_purge_of_the_newest_checkpoint_the_one_before_it_is_the_newest():
    run = await kept("a", "b", "c")
    await run.purge("c")
    found = await load.find(run.again().log, KEYS, "", (), fallback=False)
    assert found.entry.marker.checkpoint_id == "b"
    await run.purge("b", "again")
    await run.purge("a", "and again")
    assert await reason(load.find(run.again().log, KEYS, "", (), fallback=False)) is Reason.CHECKPOINT_NOT_FOUND
    assert run.where() == []


async def test_earlier_deleted_or_replaced_checkpoints_of_the_id_are_purged_as_well():
    run = await kept("a", "x")
    await run.keep("x", replace=True)
    await run.delete("x")
    await run.keep("x", replace=True)
    await run.keep("b")
    assert len(run.where("x")) == 9
    await run.purge("x")
    assert run.where("x") == []
    assert await run.left() == ["b", "a"]


async def test_a_deleted_checkpoint_can_be_purged_while_its_bytes_are_stored():
    run = await kept("a", "b")
    await run.delete("b")
    assert run.where("b")
    await run.purge("b")
    assert run.where("b") == []
    assert await reason(run.purge("b", "another")) is Reason.CHECKPOINT_DELETED
    assert await reason(run.purge("nobody", "yet another")) is Reason.CHECKPOINT_NOT_FOUND
    assert await run.left() == ["a"]


async def test_a_purged_workflow_leaves_its_log_without_content():
    run = await kept(*"abcdefgh")
    await run.keep("a", replace=True)
    await run.delete("c")
    await run.purge_all()
    assert run.where() == []
    assert await run.objects("blob/") == []
    assert await run.objects("rec/") == []
    assert await run.objects("id/") == []
    assert await run.left() == []
    await run.keep("a")
    assert await run.left() == ["a"]


async def test_a_workflow_that_was_deleted_before_can_be_purged():
    run = await kept(*"abc")
    await run.delete_workflow()
    assert run.where()
    await run.purge_all()
    assert run.where() == []


@pytest.mark.parametrize("changes", range(14))
@pytest.mark.parametrize("all_of_it", [False, True])
@pytest.mark.parametrize("finishes", ["retry", "collection"])
async def test_an_interrupted_purge_is_finished_by_its_retry_or_a_collection(changes, all_of_it, finishes):
    run = await kept("a", "b", "c")
    run.age()
    start = run.purge_all if all_of_it else partial(run.purge, "b")
    run.log.store.left = changes
    with suppress(StoreUnavailableError, HoldfastError):
        await start()
    run.log.store.left = 10**9
    run.again()
    is_begun = (await run.log.head(KEYS)).revision == 4
    if finishes == "retry":
        await start(is_retry=True)
    elif is_begun:
        done = await run.collect()
        assert not done.damaged
    else:
        return
    assert (await run.log.head(KEYS)).revision == 4
    # A collection keeps records that were attached just before for the grace.
    assert [key for key in run.where("" if all_of_it else "b") if "/rec/" not in key] == []
    assert finishes != "retry" or run.where("" if all_of_it else "b") == []
    assert await run.left() == ([] if all_of_it else ["c", "a"])


async def test_a_retry_of_a_purged_save_commits_nothing():
    run = await kept("a")
    request = Request(KEYS, "the save")
    spec = CheckpointSpec(request, "f", 1)
    await save(run.log, spec, [await run.upload()], deadline=run.deadline())
    saved = await run.log.head(KEYS)
    await run.purge(saved.marker.checkpoint_id)
    for first_attempt_at in (None, _now() - 5):
        retry = CheckpointSpec(Request(KEYS, "the save", first_attempt_at=first_attempt_at), "f", 1)
        assert await reason(save(run.log, retry, [], deadline=run.deadline())) is Reason.CHECKPOINT_DELETED
    assert await run.left() == ["a"]
    assert (await run.log.head(KEYS)).revision == 3


async def test_a_save_recognizes_its_own_marker_after_a_purge():
    class Slow(CutStore):
        async def put_if_absent(self, key, data):
            made = await super().put_if_absent(key, data)
            if key == KEYS.marker(2) and made:
                other = Secret(self)
                found = await other.log.head(KEYS)
                await other.purge(found.marker.checkpoint_id)
                raise StoreUnavailableError("the answer is lost")
            return made

    run = Secret(Slow())
    await run.keep("a")
    saved = await run.save(b"secret" * 100)
    assert saved.revision == 2
    assert await run.left() == ["a"]


async def test_a_writer_with_a_stale_head_does_not_win_the_revision_of_a_purged_checkpoint():
    run = await kept("a")
    stale = Secret(run.log.store)
    assert (await stale.log.head(KEYS)).revision == 1
    await run.keep("b")
    await run.purge("b")
    saved = await stale.save(b"x")
    assert saved.revision == 4
    assert len(await run.left()) == 2


async def test_a_load_reads_the_log_again_if_its_checkpoint_is_purged_concurrently():
    run = await kept("a", "b")
    head = await run.again().log.head(KEYS)
    other = Secret(run.log.store)
    entry = await run.log.read(KEYS, 1, head)
    await other.purge("a")
    with pytest.raises(load.OvertakenError):
        await load.check(run.log, KEYS, entry, load.Depth.CHECKSUM)
    with pytest.raises(HoldfastError, match="was deleted"):
        await load.find_requested(run.log, KEYS, head, "a")
    await other.purge("b", "p2")
    with pytest.raises(load.OvertakenError):
        await load.find_requested(run.again().log, KEYS, await _old_head(run, 2), "")


async def _old_head(run, revision):
    """Return the entry of a revision, as a reader that read it before the purge holds it."""
    return await run.log.read_unbounded(KEYS, revision)


async def test_fsck_and_collections_accept_purged_markers():
    run = await kept(*"abcdef")
    for name in "bde":
        await run.purge(name, f"purge {name}")
    findings = []
    checked = await fsck(run.again().log, on_finding=findings.append)
    assert findings == []
    assert checked.checkpoints == 3
    for passed in (2, 4, 6):
        await run.collect(Retention(keep_last=1), passed=passed * GRACE)
    assert await run.left() == ["f"]
    found = await load.find(run.again().log, KEYS, "f", (), fallback=False)
    await load.check(run.log, KEYS, found.entry, load.Depth.CHECKSUM)
    assert len(await run.objects("blob/")) == 1


async def test_a_repair_does_not_bring_back_a_purged_checkpoint():
    run = await kept("a", "b")
    await run.purge("b")
    run.log.store.objects.write(KEYS.marker(3), b"rotten")
    await fsck(run.again().log, repair=True)
    assert await run.left() == ["a"]
    found = await load.find(run.log, KEYS, "", (), fallback=False)
    assert found.entry.marker.checkpoint_id == "a"
    assert (await fsck(run.again().log, repair=True)).findings <= 1
    assert (await fsck(run.again().log)).findings == 0


async def test_a_fallback_past_a_damaged_deletion_skips_the_purged_checkpoint():
    run = await kept("a", "b")
    await run.purge("b")
    run.log.store.objects.write(KEYS.marker(3), b"rotten")
    found = await load.find(run.again().log, KEYS, "", (), fallback=True)
    assert found.entry.marker.checkpoint_id == "a"


async def test_a_purge_of_a_workflow_removes_the_bytes_of_a_damaged_marker():
    run = await kept("a", "b", "c")
    data, modified = run.log.store.objects.by_key[KEYS.marker(2)]
    run.log.store.objects.by_key[KEYS.marker(2)] = (b"x" + data, modified)
    await run.purge_all()
    assert run.where() == []


async def test_a_purge_leaves_the_bytes_of_an_earlier_copy():
    run = await kept("a", "b")
    target = WorkflowKeys("n", "copy")
    await copy_workflow(run.log, KEYS, Request(target, "copy"), deadline=run.deadline())
    await run.purge_all()
    assert all(key.startswith(target.prefix) for key in run.where())
    assert len(run.where("a")) == 3
    found = await load.find(run.log, target, "a", (), fallback=False)
    await load.check(run.log, target, found.entry, load.Depth.CHECKSUM)


async def test_a_save_concurrent_with_a_purge_of_its_workflow_is_whole_or_must_be_sent_again():
    run = await kept("a")
    stale = Secret(run.log.store)
    parts = [await stale.upload(b"y" * 300)]
    await run.purge_all()
    assert await reason(stale.save(parts=parts)) is Reason.STORE_UNAVAILABLE
    entry = await stale.save(b"y" * 300)
    found = await load.find(run.again().log, KEYS, "", (), fallback=False)
    assert found.entry.revision == entry.revision
    await load.check(run.log, KEYS, found.entry, load.Depth.CHECKSUM)


async def test_a_purge_removes_the_blob_of_an_earlier_attempt_that_did_not_commit():
    run = await kept("a", "b")
    await run.upload(SECRET + b"b" * 100)
    assert len(await run.objects("blob/")) == 3
    await run.purge("b")
    assert run.where("b") == []
    assert len(await run.objects("blob/")) == 1


async def test_an_upload_concurrent_with_a_purge_must_be_sent_again():
    run = await kept("a", "b")
    stale = Secret(run.log.store)
    parts = [await stale.upload(b"y" * 300)]
    await run.purge("b")
    assert await reason(stale.save(parts=parts)) is Reason.STORE_UNAVAILABLE
    await stale.save(b"y" * 300, checkpoint_id="c")
    assert await run.left() == ["c", "a"]


async def test_records_that_were_attached_after_the_purge_stay():
    run = await kept("a")
    run.age()
    await run.purge("a")
    batch = RecordBatch(checkpoint_id="a", request_id="later", stamp=10**15, records=[{"key": "k", "data": b"later"}])
    await records.attach(run.log, KEYS, batch, deadline=run.deadline())
    await run.purge("a", is_retry=True)
    assert [each.key for each in (await records.read(run.log.store, KEYS, "a")).records] == ["k"]


async def test_records_that_were_attached_after_a_purge_stay_whatever_its_damaged_time_says():
    run = Secret()
    await run.keep("a")
    deletion = (await run.purge_all()).entry
    await run.keep("b")
    objects = run.log.store.objects.by_key
    key = KEYS.marker(deletion.revision)
    objects[key] = (objects[key][0], 1e11)
    before = run.where("b")
    await run.purge_all(is_retry=True)
    assert run.where("b") == before
    assert not run.where("a")


async def test_a_request_id_of_a_delete_cannot_be_reused_for_a_purge():
    run = await kept("a", "b")
    await delete.delete_checkpoint(run.log, Request(KEYS, "r"), "a", deadline=run.deadline())
    assert await reason(run.purge("a", "r")) is Reason.REQUEST_ID_REUSED
