"""The log of encrypted checkpoints, as pages and as a watch: what a list shows, and no more than the keyring opens."""

import asyncio

import pytest
from holdfast import Format, HoldfastError, Keyring, KeyServiceUnavailableError
from holdfast._core.errors import key_service_unavailable

FORMAT = Format("test", 1)
LABELS = {"colour": "secret red"}
# Far longer than any test takes.
LONG = 60.0


async def ways(client, count):
    """Return the newest entries of the log by each call that has them, oldest first."""
    watch = client.watch("n", "w", after_revision=0)
    return {
        "log": [each async for each in client.log("n", "w")][::-1],
        "log_page": list((await client.log_page("n", "w")).items)[::-1],
        "watch": [await asyncio.wait_for(anext(watch), LONG) for _ in range(count)],
    }


async def test_a_log_shows_what_a_list_shows(client):
    for data in (b"x", b"large" * 1_000_000):
        await client.save("n", "w", {"a": data, "b": b""}, format=FORMAT, labels=LABELS)
    listed = [each async for each in client.list("n", "w")][::-1]
    assert [each.labels for each in listed] == [LABELS, LABELS]
    for name, entries in (await ways(client, 2)).items():
        assert [each.checkpoint for each in entries] == listed, name


async def test_a_log_shows_labels_as_they_are_stored_without_a_keyring(client, plain):
    await client.save("n", "w", b"x", format=FORMAT, labels=LABELS)
    listed = [each async for each in plain.list("n", "w")]
    for name, entries in (await ways(plain, 1)).items():
        assert [each.checkpoint for each in entries] == listed, name


@pytest.mark.parametrize("is_encrypted", [True, False])
async def test_a_checkpoint_that_the_keyring_cannot_open_is_in_the_log_without_labels(
    connect, served, client, plain, key, is_encrypted
):
    writer = client if is_encrypted else plain
    first = await writer.save("n", "w", b"x", format=FORMAT, labels=LABELS)
    async with connect(served.target, timeout=20, encryption=Keyring(key.successor("new"))) as other:
        second = await other.save("n", "w", b"x", format=FORMAT, labels=LABELS)
        for name, entries in (await ways(other, 2)).items():
            found = [(each.checkpoint.checkpoint_id, each.checkpoint.labels) for each in entries]
            assert found == [(first.checkpoint_id, {}), (second.checkpoint_id, LABELS)], name


async def test_labels_of_data_keys_that_were_wrapped_again_are_in_the_log(connect, served, client, key):
    await client.save("n", "w", b"x", format=FORMAT, labels=LABELS)
    new = key.successor("new")
    async with connect(served.target, timeout=20, encryption=Keyring(new, key)) as rewrapping:
        await rewrapping.rewrap_keys("n", "w")
    async with connect(served.target, timeout=20, encryption=Keyring(new)) as renewed:
        for name, entries in (await ways(renewed, 1)).items():
            assert [each.checkpoint.labels for each in entries] == [LABELS], name


async def test_a_watch_ends_at_an_entry_that_a_key_service_does_not_open_and_never_passes_over_it(
    connect, served, client, key
):
    class Service:
        """A key of a service that somebody disconnects."""

        id, label_key, blocks = key.id, key.label_key, True
        is_reachable = True

        def wrap(self, data_key):
            return key.wrap(data_key)

        def unwrap(self, wrapped):
            if not self.is_reachable:
                raise key_service_unavailable(self.id, "disconnected")
            return key.unwrap(wrapped)

    async def next_of(watch):
        return (await asyncio.wait_for(anext(watch), LONG)).checkpoint.labels

    service = Service()
    for number in range(3):
        await client.save("n", "w", b"x", format=FORMAT, labels={"number": str(number)})
    async with connect(served.target, timeout=20, encryption=Keyring(service)) as reader:
        watch = reader.watch("n", "w", after_revision=0)
        assert await next_of(watch) == {"number": "0"}
        service.is_reachable = False
        with pytest.raises(KeyServiceUnavailableError):
            await next_of(watch)
        service.is_reachable = True
        watch = reader.watch("n", "w", after_revision=1)
        assert [await next_of(watch), await next_of(watch)] == [{"number": "1"}, {"number": "2"}]


async def test_a_watch_ends_at_an_entry_whose_records_cannot_be_read_and_never_passes_over_it(
    connect, served, client, key
):
    await client.save("n", "w", b"x", format=FORMAT, labels=LABELS)
    new = key.successor("new")
    async with connect(served.target, timeout=20, encryption=Keyring(new, key)) as rewrapping:
        await rewrapping.rewrap_keys("n", "w")
        await rewrapping.save("n", "w", b"x", format=FORMAT, labels=LABELS)
    async with connect(served.target, timeout=20, encryption=Keyring(new)) as renewed:
        served.store.lose_request = lambda operation, key: "/rec/" in key
        with pytest.raises(HoldfastError) as caught:
            await asyncio.wait_for(anext(renewed.watch("n", "w", after_revision=0, timeout=1)), LONG)
        assert caught.value.retryable
        served.store.lose_request = lambda operation, key: False
        watch = renewed.watch("n", "w", after_revision=0)
        for revision in (1, 2):
            found = await asyncio.wait_for(anext(watch), LONG)
            assert (found.revision, found.checkpoint.labels) == (revision, LABELS)
