"""The promises of every store."""

import asyncio

import pytest
from holdfast_server.stores.azure import AzureStore
from holdfast_server.stores.base import ObjectNotFoundError, StoredObject
from holdfast_server.stores.file import FileStore


async def test_the_first_put_if_absent_wins_and_its_bytes_stay(store):
    assert await store.put_if_absent("a/b", b"first")
    assert not await store.put_if_absent("a/b", b"second")
    assert (await store.get("a/b")).data == b"first"


async def test_of_many_racers_one_wins_and_its_bytes_are_read(store):
    for attempt in range(20):
        racers = [store.put_if_absent(f"race/{attempt}", str(racer).encode()) for racer in range(32)]
        won = await asyncio.gather(*racers)
        assert sum(won) == 1
        assert (await store.get(f"race/{attempt}")).data == str(won.index(True)).encode()


async def test_a_range_is_read_and_ends_at_the_end_of_the_object(store):
    await store.put_if_absent("a", b"0123456789")
    assert (await store.get("a", offset=2, length=3)).data == b"234"
    beyond = await store.get("a", offset=8, length=100)
    assert (beyond.data, beyond.size_bytes) == (b"89", 10)


async def test_the_error_of_a_missing_object_names_it(store):
    with pytest.raises(ObjectNotFoundError) as caught:
        await store.get("no/such")
    assert caught.value.key == "no/such"


async def test_listing_is_in_byte_order_of_whole_keys(store):
    keys = ["p/a/1", "p/a-b/1", "p/a%2E/1", "p/a0/1", "p/aa", "p/b/c/d", "p/~x/1", "q/other"]
    for key in keys:
        await store.put_if_absent(key, b"x")
    expected = sorted(key for key in keys if key.startswith("p/"))
    assert [found.key for found in await store.list("p/")] == expected
    for position in range(len(expected)):
        found = await store.list("p/", start_after=expected[position], limit=2)
        assert [each.key for each in found] == expected[position + 1 : position + 3]
    assert [each.key for each in await store.list("p/", start_after="p/a/~", limit=1)] == ["p/a0/1"]
    assert [each.key for each in await store.list("p/a")] == [key for key in expected if key.startswith("p/a")]
    assert [each.key for each in await store.list("p/a", start_after="p/a0", limit=1)] == ["p/a0/1"]
    assert await store.list("p/a", start_after="p/b") == []
    assert [each.key for each in await store.list("p/a", start_after="p", limit=1)] == [expected[0]]
    assert await store.list("nothing/") == []
    assert await store.list("p/nothing") == []


async def test_an_upload_appears_whole_when_it_is_finished(store):
    async with store.put("up/load") as writer:
        for _ in range(20):
            await writer.write(b"x" * 1_000_000)
        assert await store.list("up/") == []
        await writer.finish()
    assert (await store.get("up/load")).size_bytes == 20_000_000


async def test_an_abandoned_upload_never_appears(store):
    async with store.put("up/load") as writer:
        await writer.write(b"x")
    with pytest.raises(ObjectNotFoundError):
        await store.get("up/load")
    assert await store.list("up/") == []


async def test_an_empty_upload_is_an_empty_object(store):
    async with store.put("empty") as writer:
        await writer.finish()
    assert (await store.get("empty")).data == b""


async def test_deleting_twice_is_not_an_error(store):
    await store.put_if_absent("a/b", b"x")
    await store.delete("a/b")
    await store.delete("a/b")
    assert await store.list("a/") == []


async def test_a_copy_is_whole_or_the_store_says_that_it_cannot(store):
    data = bytes(range(256)) * 4000
    async with store.put("a/source") as writer:
        await writer.write(data)
        await writer.finish()
    if await store.copy("a/source", "b/target"):
        await store.delete("a/source")
        assert (await store.get("b/target")).data == data
    else:
        assert await store.list("b/") == []
    if not isinstance(store, (AzureStore, FileStore)):
        with pytest.raises(ObjectNotFoundError):
            await store.copy("a/never", "b/other")


async def test_a_replaced_object_has_the_new_bytes_and_no_other_object_changes(store):
    await store.put_if_absent("a/b", b"old" * 100)
    await store.put_if_absent("a/c", b"other")
    await store.replace("a/b", b"new")
    assert (await store.get("a/b")) == StoredObject(b"new", 3)
    assert [(each.key, each.size_bytes) for each in await store.list("a/")] == [("a/b", 3), ("a/c", 5)]
    assert not await store.put_if_absent("a/b", b"old" * 100)
    await store.replace("d/e", b"fresh")
    assert (await store.get("d/e")).data == b"fresh"


async def test_a_concurrent_reader_of_a_replaced_object_gets_the_old_bytes_or_the_new_ones(store):
    await store.put_if_absent("a", b"0" * 1000)
    seen = set()

    async def read():
        for _ in range(50):
            seen.add((await store.get("a")).data)

    async def replace():
        for number in range(1, 20):
            await store.replace("a", b"%d" % (number % 10) * 1000)

    await asyncio.gather(read(), replace())
    assert all(len(each) == 1000 and len({*each}) == 1 for each in seen)
