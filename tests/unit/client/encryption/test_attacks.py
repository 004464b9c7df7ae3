"""Somebody who can change the store, but has no key, is noticed."""

import io
import os

import pytest
from holdfast import CheckpointCorruptedError, Format, NotEncryptedError, Record
from holdfast_server.api.handlers import listing

FORMAT = Format("test", 1)
SMALL, LARGE = b"s" * 5000, os.urandom(2_300_000)


@pytest.fixture(params=[SMALL, LARGE], ids=["small", "large"])
def data(request):
    return request.param


async def refused(client, workflow_id="w", checkpoint_id=None, error=CheckpointCorruptedError):
    """Check that a checkpoint is refused by every call that would return it, and return the error."""
    into = io.BytesIO()
    with pytest.raises(error):
        await client.load_to("n", workflow_id, into, checkpoint_id)
    assert into.getvalue() == b""
    with pytest.raises(error):
        async for _ in client.history("n", workflow_id):
            pass
    with pytest.raises(error) as caught:
        await client.load("n", workflow_id, checkpoint_id)
    return caught.value


async def test_a_changed_byte_of_a_part_is_noticed(client, stored, data):
    await client.save("n", "w", data, format=FORMAT)
    found, parts = await stored.load("w")
    for index in (0, 30, len(parts[""]) // 2, len(parts[""]) - 1):
        changed = bytearray(parts[""])
        changed[index] ^= 1
        await stored.save(found, {"": bytes(changed)})
        error = await refused(client)
        assert error.metadata["cause"] == "decryption"


async def test_a_part_that_is_cut_is_noticed(client, stored, data):
    await client.save("n", "w", data, format=FORMAT)
    found, parts = await stored.load("w")
    await stored.save(found, {"": parts[""][:-1]})
    await refused(client)


async def test_parts_that_are_swapped_within_a_checkpoint_are_noticed(client, stored, data):
    await client.save("n", "w", {"a": data, "b": data[::-1]}, format=FORMAT)
    found, parts = await stored.load("w")
    await stored.save(found, {"a": parts["b"], "b": parts["a"]})
    for part in ("a", "b"):
        into = io.BytesIO()
        with pytest.raises(CheckpointCorruptedError):
            await client.load_to("n", "w", into, part=part)
        assert into.getvalue() == b""
    with pytest.raises(CheckpointCorruptedError):
        await client.load("n", "w")


@pytest.mark.parametrize("change", ["left out", "added", "renamed", "reordered"])
async def test_parts_that_are_left_out_added_renamed_or_reordered_are_noticed(client, stored, change):
    await client.save("n", "w", {"a": SMALL, "": SMALL}, format=FORMAT)
    found, parts = await stored.load("w")
    changed = {
        "left out": {"": parts[""]},
        "added": {**parts, "c": parts["a"]},
        "renamed": {"": parts[""], "c": parts["a"]},
        "reordered": {"": parts[""], "a": parts["a"]},
    }[change]
    await stored.save(found, changed)
    await refused(client)


@pytest.mark.parametrize("field", ["namespace", "workflow_id", "checkpoint_id", "parent_id", "format"])
async def test_a_checkpoint_that_is_moved_or_given_another_parent_or_format_is_noticed(client, stored, data, field):
    await client.save("n", "w", data, format=FORMAT, checkpoint_id="c", parent_id="p")
    found, parts = await stored.load("w")
    other = Format("test", 2) if field == "format" else "other"
    await stored.save(found, parts, **{field: other})
    with pytest.raises(CheckpointCorruptedError, match="cover"):
        await client.load("other" if field == "namespace" else "n", "other" if field == "workflow_id" else "w")


async def test_parts_of_another_checkpoint_are_noticed(client, stored, data):
    await client.save("n", "w", data, format=FORMAT, checkpoint_id="one")
    await client.save("n", "w", data, format=FORMAT, checkpoint_id="two")
    _, one = await stored.load("w", "one")
    two, _ = await stored.load("w", "two")
    await stored.save(two, one)
    await refused(client)


async def test_a_part_of_the_checkpoint_that_was_replaced_is_noticed(client, stored, data):
    await client.save("n", "w", {"a": data, "": b"old"}, format=FORMAT, checkpoint_id="c", replace=True)
    _, old = await stored.load("w")
    await client.save("n", "w", {"a": data, "": b"new"}, format=FORMAT, checkpoint_id="c", replace=True)
    found, new = await stored.load("w")
    await stored.save(found, {"a": new["a"], "": old[""]})
    await refused(client)


async def test_labels_of_another_checkpoint_are_noticed(client, stored):
    await client.save("n", "w", SMALL, format=FORMAT, checkpoint_id="one", labels={"colour": "red"})
    await client.save("n", "w", SMALL, format=FORMAT, checkpoint_id="two", labels={"colour": "blue"})
    one, _ = await stored.load("w", "one")
    two, parts = await stored.load("w", "two")
    await stored.save(two, parts, labels=one.labels)
    await refused(client)
    with pytest.raises(CheckpointCorruptedError):
        await anext(client.list("n", "w"))
    assert not (await client.validate("n", "w")).resumable


@pytest.mark.parametrize("text", ["", "A", "äöü", "AAAA"])
async def test_a_cover_that_is_not_one_is_noticed(client, stored, text):
    await client.save("n", "w", SMALL, format=FORMAT)
    found, parts = await stored.load("w")
    await stored.save(found, parts, labels={"holdfast-sealed-00": text})
    await refused(client, error=(CheckpointCorruptedError, NotEncryptedError))


async def test_a_checkpoint_without_its_cover_is_taken_for_plaintext(client, stored):
    await client.save("n", "w", SMALL, format=FORMAT)
    found, parts = await stored.load("w")
    await stored.save(found, parts, labels={})
    await refused(client, error=NotEncryptedError)


async def test_plaintext_in_an_encrypted_checkpoint_is_noticed(client, stored):
    await client.save("n", "w", SMALL, format=FORMAT)
    found, _ = await stored.load("w")
    await stored.save(found, {"": b"chosen by somebody else"})
    await refused(client)


async def test_records_that_are_changed_or_moved_are_noticed(client, stored):
    for checkpoint_id in ("one", "two"):
        await client.attach("n", "w", checkpoint_id, [Record("a", SMALL), Record("b", SMALL)])
    good = await stored.records("w", "one")
    changed = bytearray(good["a"])
    changed[-1] ^= 1
    for forged in ({"a": good["b"], "b": good["a"]}, {"a": bytes(changed)}, {"c": good["a"]}, {"a": good["a"][:-1]}):
        await stored.attach("w", "two", forged)
        with pytest.raises(CheckpointCorruptedError):
            await client.records("n", "w", "two")
    await stored.attach("w", "one", {"d": b"plain"})
    with pytest.raises(NotEncryptedError):
        await client.records("n", "w", "one")
    for name in ("w2", "w"):
        await stored.attach(name, "three", {"a": good["a"]})
        with pytest.raises(CheckpointCorruptedError):
            await client.records("n", name, "three")


async def test_fallback_goes_on_to_the_newest_checkpoint_that_is_authentic(client, stored, data):
    for index in range(4):
        await client.save("n", "w", data + bytes([index]), format=FORMAT, checkpoint_id=f"c{index}")
    for index in (2, 3):
        found, parts = await stored.load("w", f"c{index}")
        forged = parts[""][:-1] + bytes([parts[""][-1] ^ 1])
        await stored.save(found, {"": forged})
    with pytest.raises(CheckpointCorruptedError) as caught:
        await client.resume("n", "w", format=FORMAT)
    assert caught.value.last_good is None
    resumed = await client.resume("n", "w", format=FORMAT, fallback=True)
    assert (resumed.data, resumed.checkpoint_id, resumed.fell_back) == (data + b"\1", "c1", True)
    assert [(one.checkpoint_id, one.reason) for one in resumed.skipped] == [
        ("c3", "CHECKPOINT_CORRUPTED"),
        ("c2", "CHECKPOINT_CORRUPTED"),
    ]
    assert [one.revision for one in resumed.skipped] == [6, 5]
    into = io.BytesIO(b"before")
    into.seek(6)
    loaded = await client.load_to("n", "w", into, fallback=True)
    assert into.getvalue() == b"before" + data + b"\1"
    assert (loaded.checkpoint_id, loaded.fell_back, len(loaded.skipped)) == ("c1", True, 2)


async def test_fallback_raises_the_error_of_the_oldest_if_none_is_authentic(client, stored):
    await client.save("n", "w", SMALL, format=FORMAT, checkpoint_id="only")
    found, parts = await stored.load("w")
    await stored.save(found, {"": parts[""][:-1]})
    with pytest.raises(CheckpointCorruptedError, match="its end is missing"):
        await client.load("n", "w", fallback=True)


@pytest.mark.remote_only
async def test_fallback_ends_at_a_server_that_goes_round_in_a_circle(client, stored, monkeypatch):
    for index in range(3):
        await client.save("n", "w", SMALL, format=FORMAT, checkpoint_id=f"c{index}")
        found, parts = await stored.load("w", f"c{index}")
        await stored.save(found, {"": parts[""][:-1]})
    listed = 0
    find_by_id = listing.find_by_id

    async def before_the_newest(log, keys, head, checkpoint_id):
        nonlocal listed
        listed += 1
        return await find_by_id(log, keys, head, "c2")

    monkeypatch.setattr(listing, "find_by_id", before_the_newest)
    with pytest.raises(CheckpointCorruptedError):
        await client.load("n", "w", fallback=True, timeout=10)
    assert listed == 2
