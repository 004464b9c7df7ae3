"""After data keys were wrapped again by a new key, the old key can be deleted, and deleting the new one erases."""

import io
import os

import holdfast
import pytest
from holdfast import (
    CheckpointCorruptedError,
    EncryptionKeyMissingError,
    Format,
    InvalidRequestError,
    KeyringRequiredError,
    Record,
    Rewrapped,
)
from holdfast._core.sealed import KEYS_MAGIC, KEYS_PREFIX
from holdfast._encryption.rewrapped import keys_in
from holdfast.encryption import LocalKey, key_missing
from hypothesis import given
from hypothesis import strategies as st

from tests.support import folder_objects

FORMAT = Format("test", 1)
SMALL, LARGE = b"s" * 5000, os.urandom(2_300_000)
PARTS = {"a": LARGE, "b": SMALL, "": b""}
LABELS = {"colour": "red"}


async def saved(client, workflow_id="w", checkpoint_id="c"):
    await client.save("n", workflow_id, PARTS, format=FORMAT, labels=LABELS, checkpoint_id=checkpoint_id, fresh_id=True)
    await client.attach("n", workflow_id, checkpoint_id, [Record("one", SMALL)])
    await client.attach("n", workflow_id, checkpoint_id, [Record("two", LARGE[:500_000])])


async def readable(client, workflow_id="w", checkpoint_id="c"):
    """Check that each call that decrypts returns what was saved."""
    records = {"one": SMALL, "two": LARGE[:500_000]}
    loaded = await client.load("n", workflow_id, checkpoint_id, records=True)
    assert (loaded.parts, loaded.info.labels) == (PARTS, LABELS)
    assert {record.key: record.data for record in loaded.records} == records
    found = await client.records("n", workflow_id, checkpoint_id)
    assert {record.key: record.data for record in found} == records
    for part, data in PARTS.items():
        into = io.BytesIO()
        await client.load_to("n", workflow_id, into, checkpoint_id, part=part)
        assert into.getvalue() == data
    assert [found.labels async for found in client.list("n", workflow_id, labels=LABELS)] == [LABELS]
    history = [found async for found in client.history("n", workflow_id, records=True)]
    assert [{record.key: record.data for record in found.records} for found in history] == [records]
    assert (await client.validate("n", workflow_id)).checkpoint.labels == LABELS


async def refused(client, workflow_id="w", checkpoint_id="c", error=EncryptionKeyMissingError):
    """Check that each call that decrypts is refused, and return the error of a load."""
    for call in (
        client.load("n", workflow_id, checkpoint_id, fallback=True, records=True),
        client.resume("n", workflow_id, format=FORMAT),
        client.records("n", workflow_id, checkpoint_id),
        anext(client.list("n", workflow_id)),
        anext(client.history("n", workflow_id)),
    ):
        with pytest.raises(error):
            await call
    for part in PARTS:
        into = io.BytesIO(b"before")
        into.seek(len(b"before"))
        with pytest.raises(error):
            await client.load_to("n", workflow_id, into, checkpoint_id, part=part)
        assert into.getvalue() == b"before"
    with pytest.raises(error) as caught:
        await client.load("n", workflow_id, checkpoint_id)
    return caught.value


async def test_the_old_key_is_not_needed_once_its_data_keys_were_wrapped_again(client, rewrapping, renewed):
    await saved(client)
    await refused(renewed)
    done = await rewrapping.rewrap_keys("n", "w")
    assert done == Rewrapped(workflows=1, checkpoints=1, data_keys=3)
    await readable(renewed)
    await readable(rewrapping)
    await readable(client)


async def test_a_key_of_the_same_id_with_other_bytes_opens_no_part_of_any_size(connect, served, client):
    await saved(client)
    impostor = holdfast.Keyring(LocalKey("tenant", os.urandom(32), client.encryption.label_key))
    async with connect(served.target, timeout=20, encryption=impostor) as other:
        error = await refused(other, error=CheckpointCorruptedError)
    assert error.metadata["cause"] == "decryption"


async def test_deleting_the_new_key_erases(connect, served, client, rewrapping):
    await saved(client)
    await rewrapping.rewrap_keys("n")
    async with connect(served.target, timeout=20, encryption=holdfast.Keyring(LocalKey.generate("third"))) as other:
        error = await refused(other)
    assert error.metadata == {"key_id": "tenant", "rewrapped_by": "new"}
    assert "its data keys are also wrapped by 'new'" in error.message


async def test_a_whole_namespace_is_wrapped_again_and_no_other(connect, served, client, rewrapping, renewed):
    for workflow_id in ("one", "two", "three"):
        await saved(client, workflow_id)
    await client.save("other", "w", SMALL, format=FORMAT)
    seen = []
    done = await rewrapping.rewrap_keys("n", progress=seen.append)
    assert done == seen[-1] == Rewrapped(workflows=3, checkpoints=3, data_keys=9)
    assert [each.workflows for each in seen] == sorted(each.workflows for each in seen)
    for workflow_id in ("one", "two", "three"):
        await readable(renewed, workflow_id)
    with pytest.raises(EncryptionKeyMissingError):
        await renewed.load("other", "w")


async def test_a_second_run_adds_nothing_but_what_an_old_writer_has_saved_since(client, rewrapping, renewed, stored):
    await saved(client)
    await rewrapping.rewrap_keys("n")
    before = await stored.records("w", "c")
    assert (await rewrapping.rewrap_keys("n")).data_keys == 0
    assert await stored.records("w", "c") == before
    await client.attach("n", "w", "c", [Record("two", LARGE[:500_000], replace=True)])
    assert (await rewrapping.rewrap_keys("n")).data_keys == 1
    await readable(renewed)


async def test_a_run_that_breaks_off_halfway_is_finished_by_the_next(served, connect, client, new_key, key, renewed):
    class Breaking:
        """The new key, until it was used a few times."""

        id, label_key, blocks = new_key.id, new_key.label_key, True
        left = 4

        def wrap(self, data_key):
            if not self.left:
                raise holdfast.encryption.key_service_unavailable(self.id, "broken")
            self.left -= 1
            return new_key.wrap(data_key)

        unwrap = staticmethod(new_key.unwrap)

    for workflow_id in ("one", "two", "three"):
        await saved(client, workflow_id)
    breaking = Breaking()
    async with connect(served.target, timeout=20, encryption=holdfast.Keyring(breaking, key)) as rewrapping:
        with pytest.raises(holdfast.KeyServiceUnavailableError):
            await rewrapping.rewrap_keys("n")
        breaking.left = 100
        done = await rewrapping.rewrap_keys("n")
    assert (done.workflows, done.checkpoints, done.data_keys) == (3, 3, 6)
    for workflow_id in ("one", "two", "three"):
        await readable(renewed, workflow_id)


async def test_keys_are_replaced_again_and_again_and_each_may_go(connect, served, client, rewrapping, new_key, key):
    await saved(client)
    await rewrapping.rewrap_keys("n")
    older, newest = new_key, new_key
    for _ in range(3):
        older, newest = newest, newest.successor()
        async with connect(served.target, timeout=20, encryption=holdfast.Keyring(newest, older)) as again:
            assert (await again.rewrap_keys("n")).data_keys == 3
    async with connect(served.target, timeout=20, encryption=holdfast.Keyring(newest)) as last:
        await readable(last)


async def test_a_key_that_the_keyring_lacks_is_a_failure_that_does_not_end_the_run(connect, served, client, rewrapping):
    other = LocalKey.generate("other").successor("other")
    async with connect(served.target, timeout=20, encryption=holdfast.Keyring(other)) as foreign:
        await saved(foreign, "foreign")
    await saved(client, "own")
    done = await rewrapping.rewrap_keys("n")
    assert (done.workflows, done.checkpoints, done.data_keys, done.failed) == (2, 2, 3, 1)
    [failure] = done.failures
    assert (failure.workflow_id, failure.checkpoint_id) == ("foreign", "c")
    assert failure.reason == "ENCRYPTION_KEY_MISSING"


async def test_forged_wrapped_keys_are_noticed(connect, served, client, rewrapping, new_key, stored):
    await saved(client)
    await saved(client, "other")
    await rewrapping.rewrap_keys("n")
    [(name, good)] = [pair for pair in (await stored.records("w", "c")).items() if pair[0].startswith(KEYS_PREFIX)]
    [theirs] = [data for key, data in (await stored.records("other", "c")).items() if key.startswith(KEYS_PREFIX)]
    # The names of the data keys of one workflow, with the wrapped keys of another.
    head, entry = 8 + 2 + len("new"), 32 + 2 + 40
    swapped = bytearray(good[:head])
    for start in range(head, len(good), entry):
        swapped += good[start : start + 32] + theirs[start + 32 : start + entry]
    changed = good[:-1] + bytes([good[-1] ^ 1])
    for forged in (bytes(swapped), changed, good[:-1], good[:20], good[:8], b"plain", b""):
        await stored.attach("w", "c", {name: forged})
        async with connect(served.target, timeout=20, encryption=holdfast.Keyring(new_key)) as reader:
            with pytest.raises(CheckpointCorruptedError) as caught:
                await reader.load("n", "w", records=True)
        assert caught.value.metadata["cause"] == "decryption"


async def test_records_of_wrapped_keys_are_not_shown_and_their_keys_are_reserved(client, rewrapping, plain):
    await client.save("n", "w", SMALL, format=FORMAT, checkpoint_id="c")
    await rewrapping.rewrap_keys("n")
    for reader in (client, rewrapping):
        assert await reader.records("n", "w", "c") == ()
        assert (await reader.load("n", "w", records=True)).records == ()
    with pytest.raises(KeyringRequiredError):
        await plain.records("n", "w", "c")
    with pytest.raises(InvalidRequestError, match="must not begin with"):
        await client.attach("n", "w", "c", [Record(f"{KEYS_PREFIX}x", b"")])


async def test_checkpoints_without_encryption_are_skipped(plain, rewrapping):
    await plain.save("n", "w", SMALL, format=FORMAT)
    await plain.attach("n", "w", "c", [Record("a", SMALL)])
    assert await rewrapping.rewrap_keys("n") == Rewrapped(workflows=1, checkpoints=1)


async def test_a_client_without_a_keyring_wraps_nothing(plain, client):
    await client.save("n", "w", SMALL, format=FORMAT)
    with pytest.raises(InvalidRequestError, match="keyring"):
        await plain.rewrap_keys("n")


@pytest.mark.asynchronous_only
async def test_a_stream_that_falls_back_finds_wrapped_keys_too(client, rewrapping, renewed, served, monkeypatch):
    for index in range(2):
        await client.save("n", "w", LARGE + bytes([index]), format=FORMAT, checkpoint_id=f"c{index}")
    await rewrapping.rewrap_keys("n")
    blob = folder_objects.by_age(served.folder, "*/blob/*")[-1]
    whole = folder_objects.read(served.folder, blob)
    first = renewed._loads._first

    async def before_the_damage(*arguments):
        folder_objects.write(served.folder, blob, whole)
        found = await first(*arguments)
        folder_objects.write(served.folder, blob, whole[:-10] + bytes(10))
        return found

    monkeypatch.setattr(renewed._loads, "_first", before_the_damage)
    loaded = await renewed.load("n", "w", fallback=True)
    assert (loaded.data, loaded.checkpoint_id) == (LARGE + b"\0", "c0")


async def test_a_key_service_that_refuses_the_old_key_leaves_the_new_one(served, connect, key, new_key):
    class Service:
        """The old key, as a key service keeps it until somebody disables it."""

        id, label_key, blocks = key.id, key.label_key, True
        is_disabled = False

        def wrap(self, data_key):
            return key.wrap(data_key)

        def unwrap(self, wrapped):
            if self.is_disabled:
                raise key_missing(self.id, "disabled")
            return key.unwrap(wrapped)

    service = Service()
    async with connect(served.target, timeout=20, encryption=holdfast.Keyring(new_key, service)) as both:
        async with connect(served.target, timeout=20, encryption=holdfast.Keyring(service)) as old:
            await saved(old)
        await both.rewrap_keys("n")
    service.is_disabled = True
    async with connect(served.target, timeout=20, encryption=holdfast.Keyring(new_key, service)) as reader:
        await readable(reader)


async def test_deletions_prunes_and_replacements_leave_nothing_that_cannot_be_read(client, rewrapping, renewed):
    for index in range(3):
        await client.save("n", "w", SMALL, format=FORMAT, checkpoint_id=f"c{index}")
    await rewrapping.rewrap_keys("n")
    await client.save("n", "w", b"replaced", format=FORMAT, checkpoint_id="c2", replace=True)
    with pytest.raises(EncryptionKeyMissingError):
        await renewed.load("n", "w", "c2")
    assert (await rewrapping.rewrap_keys("n")).data_keys == 1
    assert (await renewed.load("n", "w", "c2")).data == b"replaced"
    await renewed.delete("n", "w", "c0", purge=True)
    await renewed.prune("n", "w", keep_last=1)
    assert [found.checkpoint_id async for found in renewed.list("n", "w")] == ["c2"]
    assert (await rewrapping.rewrap_keys("n", "w")).checkpoints == 1


async def test_records_of_many_calls_are_wrapped_again(client, rewrapping, renewed):
    expected = {}
    for index in range(300):
        expected[f"key{index}"] = f"{index}".encode()
        await client.attach("n", "w", "c", [Record(f"key{index}", expected[f"key{index}"])])
    await client.save("n", "w", SMALL, format=FORMAT, checkpoint_id="c")
    assert (await rewrapping.rewrap_keys("n")).data_keys == 301
    assert {record.key: record.data for record in await renewed.records("n", "w", "c")} == expected
    assert (await rewrapping.rewrap_keys("n")).data_keys == 0


@given(st.binary(max_size=200))
def test_any_bytes_hold_wrapped_keys_or_are_refused(data):
    for given_data in (data, KEYS_MAGIC + data):
        try:
            [found] = keys_in([Record(f"{KEYS_PREFIX}x", given_data)])
        except ValueError:
            continue
        wrapped = b"".join(name + len(key).to_bytes(2) + key for name, key in found.wrapped.items())
        assert len(wrapped) <= len(given_data)
        assert all(len(name) == 32 for name in found.wrapped)
