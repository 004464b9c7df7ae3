"""Records: attached to a checkpoint before or after it exists, and loaded with it."""

import asyncio

import holdfast
import pytest
from holdfast import Record
from holdfast_server.protocol.checkpoints import records as protocol_records
from holdfast_server.protocol.checkpoints.records import Stamps

from tests.support import folder_objects
from tests.support.watched import serving_watched

FORMAT = holdfast.Format("test", 1)


async def save(client, checkpoint_id, workflow_id="w", **more):
    return await client.save("n", workflow_id, b"x", format=FORMAT, checkpoint_id=checkpoint_id, **more)


async def kept(client, checkpoint_id, workflow_id="w"):
    loaded = await client.load("n", workflow_id, checkpoint_id, records=True)
    return {each.key: each.data for each in loaded.records}


async def test_records_are_loaded_with_their_checkpoint_in_the_order_of_their_keys(client):
    await client.attach("n", "w", "c", [Record("b", b"2"), Record("a", b"1")])
    await save(client, "c")
    await client.attach("n", "w", "c", [Record("ab", b"3")])
    loaded = await client.load("n", "w", "c", records=True)
    assert loaded.records == (Record("a", b"1"), Record("ab", b"3"), Record("b", b"2"))
    assert (await client.load("n", "w", "c")).records == ()
    assert await client.records("n", "w", "c") == loaded.records


async def test_a_batch_is_one_request_of_the_store(served, client):
    await save(client, "c")
    served.store.requests.clear()
    await client.attach("n", "w", "c", [Record(f"{number}", b"x") for number in range(50)])
    assert served.store.requests.total() == 1


async def test_the_first_record_of_a_key_stays_unless_it_is_replaced(client):
    await save(client, "c")
    await client.attach("n", "w", "c", [Record("first", b"1"), Record("last", b"1", replace=True)])
    await client.attach("n", "w", "c", [Record("first", b"2"), Record("last", b"2", replace=True)])
    assert await kept(client, "c") == {"first": b"1", "last": b"2"}


async def test_a_retry_counts_as_its_first_attempt(client):
    await save(client, "c")
    await client.attach("n", "w", "c", [Record("k", b"1", replace=True)], request_id="r")
    await client.attach("n", "w", "c", [Record("k", b"2", replace=True)])
    await client.attach("n", "w", "c", [Record("k", b"1", replace=True)], request_id="r")
    assert await kept(client, "c") == {"k": b"2"}


async def test_a_caller_that_has_seen_a_record_replaces_it_through_any_server(connect, tmp_path, monkeypatch):
    async with (
        serving_watched(tmp_path) as ahead,
        serving_watched(tmp_path) as other,
        connect(ahead.target, timeout=20) as one,
        connect(other.target, timeout=20) as two,
    ):
        await save(one, "c")
        clock = protocol_records.time.time_ns
        monkeypatch.setattr(protocol_records.time, "time_ns", lambda: clock() + 3600 * 10**9)
        await one.attach("n", "w", "c", [Record("k", b"1", replace=True)])
        monkeypatch.undo()
        assert await kept(two, "c") == {"k": b"1"}
        await two.attach("n", "w", "c", [Record("k", b"2", replace=True)])
        assert await kept(one, "c") == {"k": b"2"}


def test_stamps_grow_and_follow_the_stamps_of_callers_up_to_a_limit():
    stamps = Stamps()
    given = [stamps.next() for _ in range(1000)]
    assert sorted(set(given)) == given
    assert stamps.next(given[-1] + 10**9) > given[-1] + 10**9
    assert stamps.next(protocol_records.MAX_STAMP) < protocol_records.MAX_STAMP


async def test_many_calls_can_attach_to_one_checkpoint_at_the_same_time(client):
    await save(client, "c")
    await asyncio.gather(
        *(client.attach("n", "w", "c", [Record(f"{number:03}", b"%d" % number)]) for number in range(40))
    )
    assert [*(await kept(client, "c")).values()] == [b"%d" % number for number in range(40)]


async def test_more_records_than_fit_into_an_answer_are_returned_page_by_page(client):
    await save(client, "c")
    attached = [Record(f"{number:02}", bytes([number]) * 700_000) for number in range(9)]
    await client.attach("n", "w", "c", attached)
    assert (await client.load("n", "w", "c", records=True)).records == tuple(attached)
    assert [each.records async for each in client.history("n", "w", records=True)] == [tuple(attached)]


async def test_records_can_be_requested_in_small_pages(client):
    attached = [Record(f"{number}", b"x") for number in range(9)]
    await client.attach("n", "w", "c", attached)
    assert await client.records("n", "w", "c", page_size=2) == tuple(attached)
    with pytest.raises(holdfast.InvalidRequestError) as caught:
        await client.records("n", "w", "c", page_size=1001)
    assert caught.value.field_violations == (("page_size", "expected 0 to 1000, got 1001"),)


@pytest.mark.parametrize(
    ("records", "field"),
    [
        ([Record("", b"")], "records[0].key"),
        ([Record("k" * 513, b"")], "records[0].key"),
        ([Record("k", b""), Record("k", b"")], "records[1].key"),
        ([Record("k", bytes(3 << 20))], "records"),
    ],
)
async def test_bad_records_are_refused_by_their_field(client, records, field):
    with pytest.raises(holdfast.HoldfastError) as caught:
        await client.attach("n", "w", "c", records)
    assert caught.value.field_violations[0][0] == field


async def test_a_fenced_writer_attaches_nothing(client):
    old = await client.acquire_writer("n", "w")
    await client.acquire_writer("n", "w")
    with pytest.raises(holdfast.HoldfastError) as caught:
        await client.attach("n", "w", "c", [Record("k", b"")], epoch=old.epoch)
    assert caught.value.reason == "WRITER_FENCED"


async def test_a_damaged_batch_is_reported_as_damage(served, client):
    await save(client, "c")
    await client.attach("n", "w", "c", [Record("k", b"value")])
    (batch,) = folder_objects.keys(served.folder, "ns/n/wf/w/rec/*")
    data = folder_objects.read(served.folder, batch)
    folder_objects.write(served.folder, batch, data.replace(b"value", b"valve"))
    for call in (client.load("n", "w", "c", records=True), client.records("n", "w", "c")):
        with pytest.raises(holdfast.HoldfastError) as caught:
            await call
        assert caught.value.reason == "CHECKPOINT_CORRUPTED"
        assert "a batch of records is damaged" in str(caught.value)
        assert caught.value.metadata["checkpoint_id"] == "c"
        assert "/rec/" in caught.value.metadata["key"]
    assert (await client.load("n", "w", "c")).data == b"x"


async def test_records_are_deleted_with_their_workflow_and_an_id_that_is_used_again_has_none(served, client):
    await save(client, "c")
    await client.attach("n", "w", "c", [Record("k", b"old")])
    await client.delete_workflow("n", "w")
    assert not folder_objects.keys(served.folder, "ns/n/wf/w/rec/*")
    await save(client, "c")
    assert await kept(client, "c") == {}
