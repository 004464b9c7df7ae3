"""Bases in collections, purges, checks and copies."""

import uuid

import pytest
from holdfast_server.layout.v1.marker_pb2 import PartEncoding
from holdfast_server.protocol.checkpoints import load
from holdfast_server.protocol.checkpoints.load import Depth
from holdfast_server.protocol.checkpoints.purge import purge
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.checkpoints.validate import validate
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.payload.policy import DeltaRules
from holdfast_server.stores.base import StoreUnavailableError

from tests.support.cut_store import CutStore
from tests.support.deltas import Counting, Deltas, noise, text
from tests.support.workflows import GRACE, KEYS, check


async def grown(saves, **options):
    """Return a workflow whose state has grown, and the states by revision."""
    run, state, states = Deltas(**options), text(0), {}
    for number in range(saves):
        state += text(number, 50)
        states[(await run.keep(state, checkpoint_id=f"c{number + 1}")).revision] = state
    return run, states


def bases_of(entry):
    return [base.revision for part in entry.marker.parts for base in part.bases]


@pytest.mark.parametrize("inline", [0, 100_000])
async def test_bases_of_retired_checkpoints_stay_while_one_rests_on_them_and_go_after_it(inline):
    run, states = await grown(20, inline=inline)
    newest = await run.log.head(KEYS)
    assert bases_of(newest)
    for _ in range(3):
        await run.collect(Retention(keep_last=1), passed=2 * GRACE)
        assert await run.another_process().read(newest.revision) == states[newest.revision]
    with pytest.raises(HoldfastError, match="c1'"):
        await run.load("c1")
    assert len(await run.objects("blob/")) == (0 if inline else 1 + len(bases_of(newest)))
    for number in range(100):
        newest = await run.keep(text(99) + text(number, 10))
        await run.collect(Retention(keep_last=1), passed=2 * GRACE)
    assert len(await run.objects("log/")) < 140
    await run.delete_workflow()
    for _ in range(3):
        await run.collect(passed=2 * GRACE)
    assert len(await run.objects()) <= 2


async def test_a_deleted_base_is_only_bytes():
    run, states = await grown(3)
    newest = await run.log.head(KEYS)
    for revision in bases_of(newest):
        await run.delete(f"c{revision}")
        with pytest.raises(HoldfastError) as raised:
            await run.load(f"c{revision}")
        assert raised.value.reason is Reason.CHECKPOINT_DELETED
    assert await run.another_process().load() == states[newest.revision]
    assert (await check(run))[1] == []


@pytest.mark.parametrize("inline", [0, 100_000])
@pytest.mark.parametrize("purged", [1, 2, 3, 5])
async def test_a_purge_that_breaks_anywhere_loses_no_dependent_and_its_retry_erases(inline, purged):
    left, is_done = 0, False
    while not is_done:
        run, states = await grown(8, store=CutStore(), inline=inline)
        secret = (await run.log.read_unbounded(KEYS, purged)).marker.parts[0]
        request = Request(KEYS, uuid.uuid4().hex)
        run.log.store.left = left
        left += 1
        try:
            await purge(run.log, request, f"c{purged}", deadline=run.deadline())
            is_done = True
        except (HoldfastError, StoreUnavailableError):
            pass
        run.log.store.left = 10**9
        for revision, state in states.items():
            if revision != purged:
                assert await run.another_process().load(f"c{revision}") == state
        await purge(run.log, request, f"c{purged}", deadline=run.deadline())
        assert not (await run.log.read_unbounded(KEYS, purged)).marker.parts
        assert not secret.blob or run.keys.blob(secret.blob) not in await run.objects()
        for revision, state in states.items():
            if revision != purged:
                assert await run.another_process().load(f"c{revision}") == state
                entry = await run.log.read_unbounded(KEYS, revision)
                assert purged not in bases_of(entry)
        assert (await check(run))[1] == []
        saved = await run.another_process().keep(text(0) + b"after")
        assert not bases_of(saved)


async def test_a_purge_leaves_parts_that_do_not_rest_on_what_it_purges():
    run = Deltas(inline=100_000)
    await run.keep({"a": text(1)}, checkpoint_id="c1")
    entries = [await run.keep({"a": text(1) + text(n, 20), "b": text(2) + text(n, 20)}) for n in range(3)]
    await purge(run.log, Request(KEYS, "purge"), "c1", deadline=run.deadline())
    for entry in entries:
        current = await run.log.read_unbounded(KEYS, entry.revision)
        assert current.digest == entry.digest
        a, b = current.marker.parts
        assert (list(a.bases), a.encoding) == ([], PartEncoding.PART_ENCODING_ZSTD)
        assert b == entry.marker.parts[1]


async def test_a_load_that_a_purge_overtakes_begins_again():
    run, states = await grown(6)
    entry = await run.log.read_unbounded(KEYS, 6)
    await purge(run.log, Request(KEYS, "purge"), "c1", deadline=run.deadline())
    with pytest.raises(HoldfastError, match="another way"):
        await load.check(run.log, KEYS, entry, Depth.CHECKSUM)
    found = await load.find(Log(run.log.store), KEYS, "c6", (), fallback=True)
    assert not found.skipped
    assert await run.read(6) == states[6]


async def test_fallback_passes_over_what_rests_on_a_damaged_base_and_reads_the_base_once():
    run, _ = await grown(3, store=Counting(), inline=0)
    good = await run.keep(noise(1, 900), checkpoint_id="good")
    state = text(7)
    bad = [await run.keep(state := state + text(number, 50)) for number in range(12)]
    base = bad[-1].marker.parts[0].bases[0]
    await run.log.store.replace(run.keys.blob(base.blob), noise(1, base.stored_bytes))
    run.log.store.read.clear()
    found = await load.find(Log(run.log.store), KEYS, "", (), fallback=True)
    assert found.entry.revision == good.revision
    assert len(found.skipped) == len(bad)
    assert run.log.store.read.count(run.keys.blob(base.blob)) <= 2
    result = await validate(run.log, KEYS, "", Depth.CHECKSUM, ())
    assert (result.resumable, result.last_good.revision) == (False, good.revision)
    assert {each.error.reason for each in result.findings} == {Reason.CHECKPOINT_CORRUPTED}


async def test_fsck_reports_a_damaged_base_once_with_what_rests_on_it():
    run, _ = await grown(12, inline=0)
    newest = await run.log.head(KEYS)
    base = newest.marker.parts[0].bases[0]
    await run.log.store.replace(run.keys.blob(base.blob), noise(1, base.stored_bytes))
    checked, findings = await check(run)
    about = [each.what for each in findings if "rest on it" in each.what]
    assert len(about) == 1
    assert "11 checkpoints rest on it, of revisions 2, 3, 4" in about[0]
    assert len(findings) == checked.findings <= 2


async def test_a_repair_lets_nothing_rest_on_what_may_have_been_deleted():
    run, _ = await grown(4)
    await run.log.store.replace(run.keys.marker(4), b"damaged")
    await fsck(Log(run.log.store, grace_seconds=GRACE), on_finding=lambda _: None, repair=True)
    other = run.another_process()
    saved = await other.keep(text(0) + b"after")
    assert not bases_of(saved)
    assert await other.another_process().load() == text(0) + b"after"


@pytest.mark.parametrize("rules", [DeltaRules(is_on=False), DeltaRules(without=frozenset({"n"}))])
async def test_without_deltas_parts_are_stored_as_they_are_and_deltas_are_still_read(rules):
    run, states = await grown(5)
    off = Deltas(run.log.store, rules=rules)
    saved = await off.keep(states[5] + b"more")
    (part,) = saved.marker.parts
    assert (part.encoding, len(part.bases)) == (PartEncoding.PART_ENCODING_IDENTITY, 0)
    assert await off.load() == states[5] + b"more"
    assert await off.load("c5") == states[5]
    again = await run.keep(states[5] + b"and more")
    assert bases_of(again) == [saved.revision]


async def test_two_writers_that_take_turns_rest_on_what_the_other_saved():
    one, state = Deltas(), text(0, 8000)
    await one.keep(state)
    two = one.another_process()
    for number in range(10):
        for run in (one, two):
            state += text(number, 50)
            saved = await run.keep(state)
            assert bases_of(saved)
            assert await run.another_process().read(saved.revision) == state


async def test_a_save_that_loses_the_revision_to_another_one_is_stored_according_to_the_new_head():
    one, states = await grown(3)
    two = one.another_process()
    await two.log.head(KEYS)
    await one.delete("c3")
    await one.delete("c2")
    saved = await two.keep(states[3] + b"more")
    assert set(bases_of(saved)) <= {1}
    assert await two.another_process().read(saved.revision) == states[3] + b"more"
