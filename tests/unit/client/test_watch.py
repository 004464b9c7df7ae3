"""Watches of a workflow, by both clients, on a server and in the caller's process."""

import asyncio
import gc
from contextlib import aclosing, asynccontextmanager

import holdfast
import pytest
from holdfast_server.api.watching.watches import Watches

from tests.support.damage import damage_marker
from tests.support.watched import nothing, serving_watched

FORMAT = holdfast.Format("test", 1)
# Far longer than any test takes.
LONG = 60.0


async def save(client, **more):
    return await client.save("n", "w", b"x", format=FORMAT, **more)


async def take(watch, count):
    """Return the next entries of a watch."""
    return [await asyncio.wait_for(anext(watch), LONG) for _ in range(count)]


def revisions(entries):
    return [each.revision for each in entries]


async def test_a_watch_has_earlier_and_later_entries_each_once_in_order(client):
    await save(client, checkpoint_id="a")
    await save(client, checkpoint_id="b")
    watch = client.watch("n", "w", after_revision=0)
    assert revisions(await take(watch, 2)) == [1, 2]
    await client.acquire_writer("n", "w")
    await client.delete("n", "w", "a")
    await save(client, checkpoint_id="c")
    found = await take(watch, 3)
    assert [(each.revision, each.kind) for each in found] == [(3, "fence"), (4, "deletion"), (5, "checkpoint")]
    assert found[1].affected == ((1, 1),)
    assert found[2].checkpoint.checkpoint_id == "c"


async def test_a_watch_without_a_revision_begins_after_the_head(served, client):
    await save(client)
    reading = asyncio.ensure_future(take(client.watch("n", "w"), 1))
    await watching_begun(served)
    await save(client)
    assert revisions(await reading) == [2]


async def watching_begun(served):
    """Wait until a feed has looked for commits several times. Nothing else may read the store."""
    looked = asyncio.Event()
    left = 4

    async def count(operation, key):
        nonlocal left
        left -= operation == "get"
        if left <= 0:
            looked.set()

    served.store.before = count
    await asyncio.wait_for(looked.wait(), LONG)
    served.store.before = nothing


async def test_a_workflow_is_watched_before_its_first_save(client):
    watch = client.watch("n", "w", after_revision=0)
    reading = asyncio.ensure_future(take(watch, 1))
    await save(client)
    assert revisions(await reading) == [1]


async def test_a_handle_watches_its_workflow(client):
    await save(client)
    assert revisions(await take(client.workflow("n", "w").watch(after_revision=0), 1)) == [1]


async def test_a_silent_workflow_ends_the_watch_quietly(client):
    await save(client)
    found = [each async for each in client.watch("n", "w", after_revision=0, silence=0.3)]
    assert revisions(found) == [1]


async def test_damage_and_the_deletion_of_the_workflow_are_said_in_place(served, client):
    for number in range(3):
        await save(client, checkpoint_id=f"c{number}")
    await client.delete_workflow("n", "w")
    await save(client, checkpoint_id="d")
    damage_marker(served.folder, newer=3)
    found = await take(client.watch("n", "w", after_revision=0), 5)
    assert [(each.revision, each.kind) for each in found] == [
        (1, "checkpoint"),
        (2, "damaged"),
        (3, "checkpoint"),
        (4, "workflow_deletion"),
        (5, "checkpoint"),
    ]
    assert found[1].reason == "CHECKPOINT_CORRUPTED"


async def test_a_revision_that_the_log_has_not_reached_is_refused(client):
    await save(client)
    with pytest.raises(holdfast.InvalidRequestError):
        await take(client.watch("n", "w", after_revision=2), 1)


@pytest.mark.parametrize("silence", [0, -1, float("nan")])
async def test_a_silence_that_is_no_time_is_refused(client, silence):
    with pytest.raises(holdfast.InvalidRequestError):
        await take(client.watch("n", "w", silence=silence), 1)


async def test_the_end_of_the_client_ends_its_watches(served, connect):
    client = connect(served.target, timeout=20)
    async with client:
        await save(client)
        watch = client.watch("n", "w", after_revision=0)
        await take(watch, 1)
        reading = asyncio.ensure_future(take(watch, 1))
        await watching_begun(served)
    with pytest.raises(holdfast.ClientClosedError):
        await reading


async def test_commits_through_another_server_are_seen(tmp_path, connect):
    async with (
        serving_watched(tmp_path, watch_slowest_seconds=0.1) as watched,
        serving_watched(tmp_path) as other,
        connect(watched.target) as watcher,
        holdfast.AsyncClient(other.target) as writer,
    ):
        for number in range(20):
            await save(writer, checkpoint_id=f"c{number}")
        watch = watcher.watch("n", "w", after_revision=0)
        assert revisions(await take(watch, 20)) == list(range(1, 21))
        for number in range(20, 30):
            await save(writer, checkpoint_id=f"c{number}")
            assert revisions(await take(watch, 1)) == [number + 1]


async def test_a_watch_goes_on_with_another_server_after_its_own_has_ended(tmp_path, connect):
    async with serving_watched(tmp_path) as first:
        port = first.target.rpartition(":")[2]
        client = connect(first.target, timeout=LONG)
        await client.__aenter__()
        await save(client)
        watch = client.watch("n", "w", after_revision=0)
        assert revisions(await take(watch, 1)) == [1]
        reading = asyncio.ensure_future(take(watch, 2))
    async with serving_watched(tmp_path, listen=f"127.0.0.1:{port}"):
        await save(client)
        await save(client)
        assert revisions(await reading) == [2, 3]
        await client.__aexit__(None, None, None)


async def test_many_watches_outlive_their_server_and_leave_the_client_its_retries(tmp_path, connect):
    # Fewer retries than the watches need together. Each of them alone has enough.
    policy = holdfast.RetryPolicy(burst_retries=20, retries_per_second=0.01)
    async with serving_watched(tmp_path) as first:
        port = first.target.rpartition(":")[2]
        client = connect(first.target, timeout=LONG, retry=policy)
        await client.__aenter__()
        await save(client)
        watches = [client.watch("n", "w", after_revision=0) for _ in range(16)]
        for watch in watches:
            assert revisions(await take(watch, 1)) == [1]
        reading = [asyncio.ensure_future(take(watch, 1)) for watch in watches]
        await watching_begun(first)
    async with serving_watched(tmp_path, listen=f"127.0.0.1:{port}"):
        await save(client)
        assert [revisions(each) for each in await asyncio.gather(*reading)] == [[2]] * 16
        await client.__aexit__(None, None, None)


async def test_an_old_watch_is_followed_by_another_without_a_gap(tmp_path, connect):
    async with serving_watched(tmp_path, pipeline_age_seconds=1) as served, connect(served.target) as client:
        watch = client.watch("n", "w", after_revision=0)
        for number in range(1, 15):
            await save(client)
            assert revisions(await take(watch, 1)) == [number]
            await asyncio.sleep(0.1)


@pytest.mark.asynchronous_only("the synchronous client has no tasks")
async def test_leaving_or_cancelling_a_watch_ends_its_stream(served, client):
    await save(client)
    async for entry in client.watch("n", "w", after_revision=0):
        assert entry.revision == 1
        break
    gc.collect()
    async with aclosing(client.watch("n", "w", after_revision=0)) as watch:
        await take(watch, 1)
    cancelled = asyncio.ensure_future(take(client.watch("n", "w", after_revision=0), 2))
    await watching_begun(served)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await no_watch_left(served)


async def test_watches_that_are_left_in_any_way_leave_no_stream(served, client, monkeypatch):
    running = 0
    feed = Watches.feed

    @asynccontextmanager
    async def observed(*arguments):
        nonlocal running
        async with feed(*arguments) as found:
            running += 1
            try:
                yield found
            finally:
                running -= 1

    monkeypatch.setattr(Watches, "feed", observed)
    await save(client)
    for leave in (closed, dropped, broken_off):
        for _ in range(3):
            await leave(client)
    gc.collect()
    async with asyncio.timeout(LONG):
        while running:  # noqa: ASYNC110 - the end of a stream sets no event
            await asyncio.sleep(0.01)


async def closed(client):
    async with aclosing(client.watch("n", "w", after_revision=0)) as watch:
        assert revisions(await take(watch, 1)) == [1]


async def dropped(client):
    assert revisions(await take(client.watch("n", "w", after_revision=0), 1)) == [1]


async def broken_off(client):
    async for entry in client.watch("n", "w", after_revision=0):
        assert entry.revision == 1
        break


async def no_watch_left(served):
    """Wait until no feed looks for commits any more."""
    async with asyncio.timeout(LONG):
        while True:
            before = served.store.requests["get"]
            # Longer than the slowest interval.
            await asyncio.sleep(3)
            if served.store.requests["get"] == before:
                return


async def test_many_watchers_of_a_workflow_cost_the_store_as_much_as_one(served, client, connect):
    await save(client)
    async with connect(served.target) as other:
        watches = [each.watch("n", "w", after_revision=0) for each in (client, other) for _ in range(8)]
        for watch in watches:
            assert revisions(await take(watch, 1)) == [1]
        reading = [asyncio.ensure_future(take(watch, 1)) for watch in watches]
        await watching_begun(served)
        before = served.store.requests["get"]
        await save(client)
        for each in await asyncio.gather(*reading):
            assert revisions(each) == [2]
        assert served.store.requests["get"] - before < len(watches)


async def test_a_client_with_many_watches_has_all_its_entries_and_makes_other_calls(served, connect):
    count = 150
    async with connect(served.target, timeout=LONG) as client:
        for number in range(5):
            await client.save("n", f"w{number}", b"x", format=FORMAT)
        watches = [client.watch("n", f"w{number % 5}", after_revision=0) for number in range(count)]
        for watch in watches:
            assert revisions(await take(watch, 1)) == [1]
        assert len((await client.capabilities()).features) > 0
        for number in range(5):
            await client.save("n", f"w{number}", b"y", format=FORMAT)
        for watch in watches:
            assert revisions(await take(watch, 1)) == [2]
            await watch.aclose()
