"""Checkpoints with new ids cost one request, and are found by their ids whether or not the index was written."""

import asyncio

import pytest
from holdfast_server.protocol.checkpoints import load, purge
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.id_index import BLOCK, MOST_UNINDEXED
from holdfast_server.protocol.format.keys import index_range
from holdfast_server.protocol.log import fresh_ids
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.indexer import Indexer
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.base import StoreUnavailableError

from tests.support.workflows import GRACE, KEYS, check, damage, workflow

SEVERAL_BLOCKS = 6 * BLOCK + 20


def names(count, prefix="id"):
    return [f"{prefix}-{number}" for number in range(1, count + 1)]


async def found(run, checkpoint_id, *, fallback=False):
    """Load by a server that knows nothing yet."""
    return (await load.find(Log(run.log.store, grace_seconds=GRACE), KEYS, checkpoint_id, (), fallback=fallback)).entry


async def refusal(call):
    with pytest.raises(HoldfastError) as refused:
        await call
    return refused.value.reason


async def covered(run):
    return [index_range(key.removeprefix(KEYS.prefix)) for key in await run.objects("idx/")]


class Counted:
    """Counts the requests to a store, by the kind of object."""

    def __init__(self, monkeypatch, store):
        self.requests = []
        for name in ("get", "put_if_absent", "list"):
            monkeypatch.setattr(store, name, self._counting(name, getattr(store, name)))

    def _counting(self, name, call):
        async def counted(key, *args, **options):
            kind = key.removeprefix(KEYS.prefix).partition("/")[0]
            self.requests.append(f"{name} {kind}")
            return await call(key, *args, **options)

        return counted

    def take(self):
        taken, self.requests = self.requests, []
        return taken


async def test_a_new_id_costs_one_request_and_a_claimed_one_two(monkeypatch):
    run = workflow()
    await run.save_fresh("a", "b")
    part = await run.upload(b"x", inline=100)
    counted = Counted(monkeypatch, run.log.store)
    await run.save(parts=[part], checkpoint_id="c", fresh_id=True)
    assert counted.take() == ["put_if_absent log"]
    await run.save(parts=[part], checkpoint_id="d")
    assert counted.take() == ["put_if_absent id", "put_if_absent log"]


@pytest.mark.parametrize("indexes", [True, False])
async def test_every_new_id_is_found(indexes):
    run = workflow()
    await run.save()
    ids = names(SEVERAL_BLOCKS if indexes else BLOCK)
    await run.save_fresh(*ids, indexes=indexes)
    for revision, checkpoint_id in enumerate(ids, 2):
        assert (await found(run, checkpoint_id)).revision == revision
    assert await refusal(found(run, "id-0")) is Reason.CHECKPOINT_NOT_FOUND
    assert bool(await run.objects("idx/")) == indexes


async def test_an_old_id_and_an_absent_one_are_decided_in_a_few_reads(monkeypatch):
    run = workflow()
    await run.save_fresh(*names(20 * BLOCK))
    counted = Counted(monkeypatch, run.log.store)
    for checkpoint_id, entries in (("id-7", 1), ("absent", 0)):
        log = Log(run.log.store, grace_seconds=GRACE)
        head = await log.head(KEYS)
        counted.take()
        entry = await fresh_ids.find(log, KEYS, head, checkpoint_id)
        assert (entry is not None) == bool(entries)
        taken = counted.take()
        # The index has at most as many objects as its number of blocks has digits, and a tail of at most a block.
        assert taken.count("get idx") <= 5
        assert taken.count("get log") <= entries + 2 * BLOCK // 16


async def test_without_an_index_ids_are_claimed_so_that_no_walk_is_long():
    run = workflow()
    ids = names(MOST_UNINDEXED + 40)
    await run.save_fresh(*ids, indexes=False)
    claims = await run.objects("id/")
    assert len(claims) == 40
    for checkpoint_id in (ids[0], ids[100], ids[-30], ids[-1]):
        assert (await found(run, checkpoint_id)).marker.checkpoint_id == checkpoint_id
    head = await run.log.head(KEYS)
    assert head.marker.last_fresh_revision == MOST_UNINDEXED
    for _ in range(4):
        await fresh_ids.extend(run.log, head, deadline=run.deadline())
    assert (await run.save_fresh("again")).marker.fresh_id


async def test_a_server_continues_the_index_of_another():
    run = workflow()
    ids = names(5 * BLOCK)
    for number, checkpoint_id in enumerate(ids):
        if number % 50 == 0:
            run.log = Log(run.log.store, grace_seconds=GRACE)
        await run.save_fresh(checkpoint_id)
    assert await covered(run) == [(1, 64), (1, 128), (129, 192), (1, 256), (257, 320)]
    for checkpoint_id in ids[::7]:
        assert (await found(run, checkpoint_id)).marker.checkpoint_id == checkpoint_id


@pytest.mark.parametrize("is_gone", [False, True])
async def test_without_an_object_of_the_index_the_log_is_read_and_a_repair_writes_it_again(is_gone):
    run = workflow()
    ids = names(SEVERAL_BLOCKS)
    await run.save_fresh(*ids)
    key = KEYS.index(1, 4 * BLOCK)
    intact = run.log.store.objects.by_key[key][0]
    if is_gone:
        await run.log.store.delete(key)
    else:
        damage(run, key)
    assert (await found(run, ids[3])).revision == 4
    assert await refusal(found(run, "absent")) is Reason.CHECKPOINT_NOT_FOUND
    _, findings = await check(run)
    assert [each.key for each in findings] == [key]
    await check(run, repair=True)
    assert (await check(run))[1] == []
    assert run.log.store.objects.by_key[key][0] == intact


async def test_an_id_whose_marker_is_damaged_is_not_reported_as_missing():
    run = workflow()
    ids = names(2 * BLOCK + 20)
    await run.save_fresh(*ids[:40])
    damage(run, KEYS.marker(30))
    # Written after the damage: the index does not know the id of revision 30.
    run.log = Log(run.log.store, grace_seconds=GRACE)
    await run.save_fresh(*ids[40:])
    assert await refusal(found(run, ids[29])) is Reason.CHECKPOINT_CORRUPTED
    assert (await found(run, ids[29], fallback=True)).revision == 29
    assert (await found(run, ids[28])).revision == 29
    await check(run, repair=True)
    assert await refusal(found(run, "absent")) is Reason.CHECKPOINT_NOT_FOUND


async def test_an_id_that_may_be_that_of_a_damaged_head_is_not_reported_as_missing():
    run = workflow()
    await run.save_fresh(*names(3))
    damage(run, KEYS.marker(3))
    assert (await found(run, "id-3", fallback=True)).revision == 2


async def test_a_broken_promise_is_noticed_among_the_recent_entries():
    run = workflow()
    await run.save_fresh("a", "b")
    part = await run.upload(b"other", inline=100)
    assert await refusal(run.save(parts=[part], checkpoint_id="a", fresh_id=True)) is Reason.CHECKPOINT_ID_REUSED
    assert (await run.save_fresh("a")).revision == 1
    replaced = await run.save(parts=[part], checkpoint_id="a", fresh_id=True, replace=True)
    assert replaced.marker.replaced_revision == 1


async def test_of_a_broken_promise_that_is_not_noticed_the_newer_checkpoint_is_loaded():
    run = workflow()
    await run.save_fresh("a", *names(100), "a")
    assert (await found(run, "a")).revision == 102
    await run.save_fresh(*names(60, "more"))
    assert (await found(run, "a")).revision == 102
    await run.delete("a")
    assert await refusal(found(run, "a")) is Reason.CHECKPOINT_DELETED
    listed = [entry.revision async for entry in load.history(run.log, KEYS, None)]
    assert 1 in listed
    assert 102 not in listed


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("after", [3, 30, 3 * BLOCK])
async def test_a_claimed_id_notices_a_new_one_of_its_name(before, after):
    run = workflow()
    for number in range(before):
        await run.save(checkpoint_id=f"claimed-{number}")
    await run.save_fresh("a", *names(after))
    part = await run.upload(b"other", inline=100)
    assert await refusal(run.save(parts=[part], checkpoint_id="a")) is Reason.CHECKPOINT_ID_REUSED
    replaced = await run.save(parts=[part], checkpoint_id="a", replace=True)
    assert replaced.marker.replaced_revision == before + 1
    assert (await found(run, "a")).revision == replaced.revision
    await run.save_fresh(*names(80, "more"))
    assert (await found(run, "a")).revision == replaced.revision
    assert (await found(run, "claimed-0" if before else "a")).marker.checkpoint_id


async def test_a_claimed_id_is_found_before_among_and_after_new_ones():
    run = workflow()
    await run.save(checkpoint_id="before")
    await run.save_fresh(*names(100))
    await run.save(checkpoint_id="among")
    await run.save_fresh(*names(100, "more"))
    await run.save(checkpoint_id="after")
    for number in range(30):
        await run.save(checkpoint_id=f"last-{number}")
    for checkpoint_id in ("before", "among", "after", "last-2"):
        assert (await found(run, checkpoint_id)).marker.checkpoint_id == checkpoint_id


async def test_a_deleted_workflow_begins_a_new_index_and_a_collection_removes_the_old_one():
    run = workflow()
    await run.save_fresh(*names(2 * BLOCK))
    await run.delete_workflow()
    assert await refusal(found(run, "id-1")) is Reason.CHECKPOINT_NOT_FOUND
    entry = await run.save_fresh("id-1")
    assert (entry.marker.indexed_from, entry.marker.indexed_to) == (entry.revision - 1, entry.revision - 1)
    await run.save_fresh(*names(BLOCK + 20, "new"))
    assert (await found(run, "id-1")).revision == entry.revision
    done = await run.collect(passed=2 * GRACE)
    assert done.indexes == 2
    assert [first for first, _ in await covered(run)] == [entry.revision]


async def test_a_collection_removes_superseded_and_collected_objects_and_no_other():
    run = workflow()
    ids = names(7 * BLOCK + 20)
    await run.save_fresh(*ids)
    dry = await run.collect(passed=2 * GRACE, dry_run=True)
    done = await run.collect(passed=2 * GRACE)
    assert dry.indexes == done.indexes == 4
    for checkpoint_id in ids[::50]:
        assert (await found(run, checkpoint_id)).marker.checkpoint_id == checkpoint_id
    await run.collect(Retention(keep_last=100), passed=2 * GRACE)
    await run.collect(Retention(keep_last=100), passed=4 * GRACE)
    assert await covered(run) == [(4 * BLOCK + 1, 6 * BLOCK), (6 * BLOCK + 1, 7 * BLOCK)]
    await run.save_fresh(*names(BLOCK, "more"))
    assert (await found(run, ids[-1])).marker.checkpoint_id == ids[-1]
    assert await refusal(found(run, ids[0])) is Reason.CHECKPOINT_NOT_FOUND
    assert (await check(run))[1] == []


async def test_a_collection_claims_no_new_id():
    run = workflow()
    for number in range(110):
        await run.save(checkpoint_id=f"claimed-{number}")
    await run.save_fresh(*names(5))
    done = await run.collect(Retention(keep_last=5), passed=2 * GRACE)
    assert done.claims == 110
    assert await run.objects("id/") == []
    assert (await found(run, "id-2")).marker.checkpoint_id == "id-2"


async def test_a_purged_workflow_leaves_no_index():
    run = workflow()
    await run.save_fresh(*names(2 * BLOCK))
    await purge.purge_workflow(run.log, Request(KEYS, "purge"), (), deadline=run.deadline())
    assert await run.objects("idx/") == []


async def test_the_index_is_written_off_the_path_of_the_saves_and_awaited_at_the_end():
    run = workflow()
    indexer = Indexer(run.log)
    indexer.extend_soon(await run.save_fresh(*names(BLOCK + 1), indexes=False))
    assert await run.objects("idx/") == []
    await indexer.close()
    assert await run.objects("idx/") == [KEYS.index(1, BLOCK)]


async def test_a_store_that_does_not_answer_holds_up_no_end(monkeypatch, caplog):
    run = workflow()
    entry = await run.save_fresh(*names(BLOCK + 1), indexes=False)
    indexer = Indexer(run.log)
    monkeypatch.setattr(run.log.retried_store, "get", lambda *_args, **_options: asyncio.sleep(3600))
    monkeypatch.setattr("holdfast_server.protocol.log.indexer._CLOSE_SECONDS", 0.01)
    indexer.extend_soon(entry)
    await indexer.close()

    async def refuse(*_args, **_options):
        raise StoreUnavailableError("busy")

    monkeypatch.setattr(run.log.retried_store, "get", refuse)
    indexer.extend_soon(entry)
    await indexer.close()
    assert "index of checkpoint ids could not be extended" in caplog.text
