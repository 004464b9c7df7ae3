"""A client with a keyring saves nothing readable, and returns what it saved."""

import io
import os

import pytest
from holdfast import (
    AcceptedFormat,
    EncryptionKeyMissingError,
    Format,
    InvalidRequestError,
    Keyring,
    KeyringRequiredError,
    Migrations,
    NotEncryptedError,
    PayloadTooLargeError,
    Record,
    RevisionConflictError,
)
from holdfast._core.messages import format_message
from holdfast._encryption import cover
from holdfast._encryption.protection import Sealing
from holdfast.encryption import LocalKey
from holdfast.v1 import checkpoint_pb2

from tests.support import folder_objects

FORMAT = Format("test", 1)
LARGE = os.urandom(2_500_000) + bytes(1_500_000)
SECRET = b"the secret word"
LABELS = {"colour": "secret red", "size": "secret large"}


@pytest.mark.parametrize("data", [b"", SECRET, SECRET * 10_000, LARGE], ids=len)
async def test_a_payload_of_any_size_comes_back(client, data):
    saved = await client.save("n", "w", data, format=FORMAT)
    loaded = await client.load("n", "w")
    assert (loaded.data, loaded.checkpoint_id, loaded.format) == (data, saved.checkpoint_id, FORMAT)
    into = io.BytesIO()
    await client.load_to("n", "w", into)
    assert into.getvalue() == data


async def test_parts_from_files_come_back_each_by_itself(client):
    data = {"file": io.BytesIO(LARGE), "small": SECRET, "empty": b"", "view": memoryview(LARGE)}
    await client.save("n", "w", data, format=FORMAT)
    expected = {"file": LARGE, "small": SECRET, "empty": b"", "view": LARGE}
    assert (await client.load("n", "w")).parts == expected
    for name, content in expected.items():
        into = io.BytesIO()
        await client.load_to("n", "w", into, part=name)
        assert into.getvalue() == content


async def test_nothing_that_was_saved_is_readable_in_the_store(client, served):
    saved = await client.save("n", "w", {"p": SECRET, "q": SECRET * 10_000}, format=FORMAT, labels=LABELS)
    await client.attach("n", "w", saved.checkpoint_id, [Record("key", SECRET)])
    # Compressed data would hide the words from this test as well, so the store's own values are searched.
    found = b"".join(folder_objects.read(served.folder, key) for key in folder_objects.keys(served.folder, "*"))
    for word in (b"secret", b"colour", b"large"):
        assert word not in found
    assert b"holdfast-sealed-" in found or b"holdfast" in found


async def test_labels_come_back_in_every_call_and_are_found(client):
    first = await client.save("n", "w", b"1", format=FORMAT, labels=LABELS)
    second = await client.save("n", "w", b"2", format=FORMAT, labels={"colour": "secret red"})
    assert (first.labels, second.labels) == (LABELS, {"colour": "secret red"})
    assert (await client.load("n", "w", first.checkpoint_id)).info.labels == LABELS
    assert [found.labels async for found in client.list("n", "w")] == [{"colour": "secret red"}, LABELS]
    assert [found.info.labels async for found in client.history("n", "w")] == [{"colour": "secret red"}, LABELS]
    validation = await client.validate("n", "w")
    assert validation.checkpoint.labels == validation.last_good.labels == {"colour": "secret red"}

    async def ids(labels):
        return [found.checkpoint_id async for found in client.list("n", "w", labels=labels)]

    assert await ids({"colour": "secret red"}) == [second.checkpoint_id, first.checkpoint_id]
    assert await ids(LABELS) == [first.checkpoint_id]
    assert await ids({"colour": "secret large"}) == []
    assert await client.delete_checkpoints("n", "w", labels={"size": "secret large"}) == 1


async def test_labels_of_a_key_without_a_label_key_come_back_and_are_not_searched_for(connect, served):
    keyring = Keyring(LocalKey("a", os.urandom(32)))
    async with connect(served.target, timeout=20, encryption=keyring) as client:
        await client.save("n", "w", b"1", format=FORMAT, labels=LABELS)
        assert [found.labels async for found in client.list("n", "w")] == [LABELS]
        with pytest.raises(InvalidRequestError, match="no label_key"):
            await anext(client.list("n", "w", labels=LABELS))


async def test_equal_labels_look_different_in_another_namespace(key):
    digests = [set(cover.digests(key.label_key, namespace, LABELS)) for namespace in ("one", "two")]
    assert [len(found) for found in digests] == [2, 2]
    assert not digests[0] & digests[1]


@pytest.mark.parametrize(
    "labels", [{f"key{index}": "" for index in range(49)}, {f"k{index}": "x" * 1000 for index in range(14)}]
)
async def test_labels_that_do_not_fit_once_they_are_encrypted_are_refused(client, labels):
    with pytest.raises(InvalidRequestError, match="labels"):
        await client.save("n", "w", b"1", format=FORMAT, labels=labels)


async def test_records_come_back_with_and_without_their_checkpoint(client):
    saved = await client.save("n", "w", b"1", format=FORMAT)
    records = [Record(f"key{index}", SECRET * index) for index in range(5)] + [Record("large", LARGE[:1_500_000])]
    await client.attach("n", "w", saved.checkpoint_id, records)
    await client.attach(
        "n", "w", saved.checkpoint_id, [Record("key0", b"ignored"), Record("key1", b"new", replace=True)]
    )
    expected = {record.key: record.data for record in records} | {"key1": b"new"}
    assert {found.key: found.data for found in await client.records("n", "w", saved.checkpoint_id)} == expected
    loaded = await client.load("n", "w", records=True)
    assert {found.key: found.data for found in loaded.records} == expected
    [loaded] = [found async for found in client.history("n", "w", records=True)]
    assert {found.key: found.data for found in loaded.records} == expected
    with pytest.raises(PayloadTooLargeError):
        await client.records("n", "w", saved.checkpoint_id, max_bytes=1000)


async def test_a_client_without_a_keyring_recognises_what_is_encrypted(client, plain):
    saved = await client.save("n", "w", SECRET, format=FORMAT)
    await client.attach("n", "w", saved.checkpoint_id, [Record("key", SECRET)])
    for call in (
        plain.load("n", "w"),
        plain.load_to("n", "w", io.BytesIO()),
        plain.resume("n", "w", format=FORMAT),
        plain.records("n", "w", saved.checkpoint_id),
        anext(plain.history("n", "w")),
    ):
        with pytest.raises(KeyringRequiredError, match="is encrypted") as caught:
            await call
        assert caught.value.metadata["checkpoint_id"] == saved.checkpoint_id
    assert [found.checkpoint_id async for found in plain.list("n", "w")] == [saved.checkpoint_id]
    assert (await plain.validate("n", "w")).resumable


async def test_a_client_with_a_keyring_refuses_what_is_not_encrypted(client, plain):
    saved = await plain.save("n", "w", SECRET, format=FORMAT)
    await plain.attach("n", "w", saved.checkpoint_id, [Record("key", SECRET)])
    into = io.BytesIO()
    for call in (
        client.load("n", "w"),
        client.load("n", "w", fallback=True),
        client.load_to("n", "w", into),
        client.resume("n", "w", format=FORMAT),
        client.records("n", "w", saved.checkpoint_id),
        anext(client.list("n", "w")),
        anext(client.history("n", "w")),
    ):
        with pytest.raises(NotEncryptedError, match="is not encrypted") as caught:
            await call
        assert caught.value.metadata["checkpoint_id"] == saved.checkpoint_id
    assert into.getvalue() == b""
    assert [found.checkpoint_id async for found in client.list("n", "w", ids_only=True)] == [saved.checkpoint_id]
    validation = await client.validate("n", "w")
    assert (validation.resumable, validation.last_good) == (False, None)
    assert [finding.reason for finding in validation.findings] == ["NOT_ENCRYPTED"]


async def test_an_older_key_reads_and_the_current_one_encrypts(connect, served, client, key):
    await client.save("n", "w", b"old", format=FORMAT, labels=LABELS)
    new = key.successor("new")
    async with connect(served.target, timeout=20, encryption=Keyring(new, key)) as rotated:
        assert (await rotated.load("n", "w")).data == b"old"
        await rotated.save("n", "w", b"new", format=FORMAT, labels=LABELS)
        assert len([found async for found in rotated.list("n", "w", labels=LABELS)]) == 2
    async with connect(served.target, timeout=20, encryption=Keyring(new)) as erased:
        assert (await erased.load("n", "w")).data == b"new"
    with pytest.raises(EncryptionKeyMissingError, match="no key 'new'") as caught:
        await client.load("n", "w")
    assert caught.value.metadata["key_id"] == "new"


async def test_a_key_that_was_deleted_is_named_and_does_not_fall_back(connect, served, client, key):
    await client.save("n", "w", b"old", format=FORMAT)
    async with connect(served.target, timeout=20, encryption=Keyring(key.successor("new"))) as erased:
        with pytest.raises(EncryptionKeyMissingError) as caught:
            await erased.resume("n", "w", format=FORMAT, fallback=True)
        assert caught.value.metadata["key_id"] == "tenant"
        assert caught.value.last_good is None


async def test_a_workflow_is_resumed_and_migrated_from_decrypted_data(client):
    migrations = Migrations()

    @migrations.register("test", from_version=1)
    def add(parts):
        return {"": parts[""] + b"+"}

    workflow = client.workflow("n", "w")
    await workflow.save(SECRET, format=FORMAT, labels=LABELS)
    resumed = await client.workflow("n", "w").resume(format=Format("test", 2), migrations=migrations)
    assert (resumed.data, resumed.migrated_from) == (SECRET + b"+", FORMAT)
    saved = await workflow.save(b"next", format=FORMAT)
    assert (await client.load("n", "w")).info.parent_id == saved.parent_id != ""
    with pytest.raises(RevisionConflictError):
        await client.save("n", "w", b"late", format=FORMAT, expected_revision=1)


async def test_a_lost_answer_is_retried_with_the_same_bytes(client, served):
    lost = []

    def lose(operation, key):
        is_lost = operation == "put_if_absent" and "/log/" in key and not lost
        if is_lost:
            lost.append(key)
        return is_lost

    served.store.lose_answer = lose
    for data in (SECRET, LARGE):
        lost.clear()
        saved = await client.save("n", "w", data, format=FORMAT, timeout=20)
        assert lost
        assert (await client.load("n", "w", saved.checkpoint_id)).data == data
    assert len([found async for found in client.list("n", "w")]) == 2


@pytest.mark.parametrize("size", [1000, len(LARGE)])
def test_a_file_that_changes_between_attempts_is_refused(keyring, size):
    file = io.BytesIO(LARGE[:size])
    header = checkpoint_pb2.SaveHeader(namespace="n", workflow_id="w", format=format_message(FORMAT))
    outgoing = Sealing(keyring).outgoing(header, file)
    first, second = list(outgoing.messages("", None)), list(outgoing.messages("", None))
    assert first == second
    assert outgoing.sizes == {"": first[-1].finish.size_bytes}
    file.getbuffer()[-1] ^= 1
    with pytest.raises(InvalidRequestError, match="must not change while it is saved"):
        list(outgoing.messages("", None))


@pytest.mark.parametrize("size", [0, 1000, 1 << 20, len(LARGE)])
def test_sizes_are_known_before_anything_is_sent_if_they_are_needed(keyring, size):
    header = checkpoint_pb2.SaveHeader(namespace="n", workflow_id="w", format=format_message(FORMAT))
    outgoing = Sealing(keyring).outgoing(header, {"a": LARGE[:size], "b": b""})
    sizes = outgoing.sizes
    assert sum(sizes.values()) == list(outgoing.messages("", None))[-1].finish.size_bytes
    assert {part.name: len(part.data) for part in outgoing.inline()} == sizes
    assert outgoing.fits_unary == (size < 1 << 20)


async def test_a_replacement_has_the_id_and_the_new_data(client):
    for data in (b"one", b"two"):
        await client.save("n", "w", data, format=FORMAT, checkpoint_id="c", replace=True)
    assert (await client.load("n", "w", "c")).data == b"two"


async def test_a_limit_counts_the_bytes_once_they_are_open(client):
    await client.save("n", "w", bytes(3_000_000), format=FORMAT)
    assert len((await client.load("n", "w", max_bytes=3_000_000)).data) == 3_000_000
    with pytest.raises(PayloadTooLargeError, match="more than the 2999999 bytes"):
        await client.load("n", "w", max_bytes=2_999_999)
    into = io.BytesIO()
    with pytest.raises(PayloadTooLargeError):
        await client.load_to("n", "w", into, max_bytes=2_999_999)
    assert into.getvalue() == b""


async def test_progress_is_reported_in_the_callers_bytes(client):
    seen = []
    await client.save("n", "w", LARGE, format=FORMAT, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(LARGE), len(LARGE))
    assert seen == sorted(seen)


async def test_a_workflow_is_not_copied_by_the_server(client):
    await client.save("n", "w", b"1", format=FORMAT)
    with pytest.raises(InvalidRequestError, match="bound to its workflow"):
        await client.copy_workflow("n", "w", "copy")


async def test_formats_are_accepted_before_anything_is_decrypted(client):
    await client.save("n", "w", b"1", format=FORMAT)
    assert (await client.load("n", "w", accepted_formats=[AcceptedFormat("test", 1, 1)])).data == b"1"
