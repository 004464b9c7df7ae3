"""Records in garbage collections, in checks of the store, and as batches in any order."""

from os import urandom

import pytest
from holdfast_server.layout.v1.marker_pb2 import RecordBatch, StoredRecord
from holdfast_server.protocol.checkpoints import records
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.checkpoints.window import Batch, Window
from holdfast_server.protocol.errors import HoldfastError, Reason
from hypothesis import given
from hypothesis import strategies as st

from tests.support.workflows import GRACE, check, damage, workflow


async def attach(run, checkpoint_id, *keys, stamp=1):
    batch = RecordBatch(
        checkpoint_id=checkpoint_id,
        request_id=f"{checkpoint_id} {stamp}",
        stamp=stamp,
        records=[StoredRecord(key=key, data=b"x") for key in keys],
    )
    await records.attach(run.log, run.keys, batch, deadline=run.deadline())


async def attached(run, checkpoint_id):
    return [each.key for each in (await records.read(run.log.store, run.keys, checkpoint_id)).records]


async def test_records_stay_as_long_as_their_checkpoint_and_a_grace():
    run = workflow()
    for name in ("a", "b"):
        await run.save(checkpoint_id=name)
        await attach(run, name, "k")
    await run.collect(Retention(keep_last=1), passed=10 * GRACE)
    assert await attached(run, "a") == ["k"]
    done = await run.collect(Retention(keep_last=1), passed=20 * GRACE)
    assert done.records == 1
    assert await attached(run, "a") == []
    assert await attached(run, "b") == ["k"]


async def test_records_whose_checkpoint_is_never_saved_are_removed_after_the_grace():
    run = workflow()
    await attach(run, "never", "k")
    await attach(run, "late", "k")
    assert (await run.collect(passed=0.9 * GRACE)).records == 0
    await run.save(checkpoint_id="late")
    assert (await run.collect(passed=GRACE + 1)).records == 1
    assert await attached(run, "late") == ["k"]


async def test_records_of_a_deleted_workflow_are_removed_after_the_grace():
    run = workflow()
    await run.save(checkpoint_id="a")
    await attach(run, "a", "k")
    await run.delete_workflow()
    await run.collect(passed=GRACE + 1)
    await run.collect(passed=2 * GRACE + 2)
    assert await run.objects("rec/") == []
    assert len(await run.objects()) == 1


async def test_a_check_counts_records_and_names_damaged_ones():
    run = workflow()
    await run.save(checkpoint_id="a")
    for stamp in (1, 2, 3):
        await attach(run, "a", "k", "l", stamp=stamp)
    assert (await check(run))[0].records == 6
    first, second, _ = await run.objects("rec/")
    damage(run, first)
    # A batch under the key of another one.
    misplaced = second.replace("-", "-0")[: len(second)]
    run.log.store.objects.write(misplaced, run.log.store.objects.by_key[second][0])
    checked, findings = await check(run)
    assert checked.records == 4
    assert {each.key for each in findings} == {first, misplaced}


def merge(batches, after="", limit_bytes=None, max_records=None):
    found = Window(after, limit_bytes, max_records)
    for batch in batches:
        found.apply(Batch(batch, batch.stamp, batch.request_id))
    return found.records()


written = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=3, unique_by=lambda each: each[0])


@given(st.lists(st.tuples(st.integers(0, 5), written), max_size=12))
def test_a_key_keeps_its_last_replacement_or_its_first_record_and_a_request_its_first_attempt(drawn):
    batches = [
        RecordBatch(
            request_id=str(request),
            stamp=stamp,
            records=[StoredRecord(key=key, data=b"%d" % stamp, replace=replace) for key, replace in each],
        )
        for stamp, (request, each) in enumerate(drawn)
    ]
    first_tries = {batch.request_id: batch for batch in reversed(batches)}.values()
    merged = merge(batches)
    assert [each.key for each in merged.records] == sorted(
        {each.key for batch in first_tries for each in batch.records}
    )
    for found in merged.records:
        same = [(batch.stamp, each) for batch in first_tries for each in batch.records if each.key == found.key]
        replacing = [stamp for stamp, each in same if each.replace]
        expected = max(replacing) if replacing else min(stamp for stamp, _ in same)
        assert found.data == b"%d" % expected


@given(
    st.lists(st.tuples(st.integers(0, 5), written), max_size=12),
    st.none() | st.integers(0, 60),
    st.none() | st.integers(1, 4),
)
def test_pages_of_any_size_give_the_same_records_as_one_reading_of_all(drawn, limit_bytes, max_records):
    batches = [
        RecordBatch(
            request_id=str(request),
            stamp=stamp,
            records=[StoredRecord(key=key, data=b"x" * (stamp % 3), replace=replace) for key, replace in each],
        )
        for stamp, (request, each) in enumerate(drawn)
    ]
    whole = merge(batches)
    found, after = [], ""
    while True:
        page = merge(batches, after, limit_bytes, max_records)
        assert max_records is None or len(page.records) <= max_records
        found += page.records
        assert page.stamp == whole.stamp
        if page.is_whole:
            break
        after = page.records[-1].key
    assert found == whole.records


async def test_records_of_a_checkpoint_beyond_the_limit_are_refused_and_others_are_not():
    run = workflow()
    room = records.Room(run.log.store)
    size = 3 << 20
    batch = RecordBatch(checkpoint_id="a", records=[StoredRecord(key="k", data=urandom(size))])
    for stamp in range(records.MAX_CHECKPOINT_BYTES // batch.ByteSize()):
        batch.stamp, batch.request_id = stamp, str(stamp)
        await room.require(run.keys, "a", batch.ByteSize())
        await records.attach(run.log, run.keys, batch, deadline=run.deadline())
    # Another server counts what is in the store.
    for each in (room, records.Room(run.log.store)):
        with pytest.raises(HoldfastError) as caught:
            await each.require(run.keys, "a", size + (2 << 20))
        assert caught.value.reason is Reason.QUOTA_EXCEEDED
        await each.require(run.keys, "b", size)
