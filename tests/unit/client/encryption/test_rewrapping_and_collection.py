"""Data keys that were wrapped again live as long as their checkpoint: through retention, collections, and archives."""

import tempfile
import time
from pathlib import Path

import holdfast
import pytest
from holdfast import EncryptionKeyMissingError, Format, InvalidRequestError, Record
from holdfast._core.sealed import FIRST_COVER_LABEL, KEYS_MAGIC
from holdfast.encryption import LocalKey
from holdfast_server.protocol.archive.export import Scope
from holdfast_server.protocol.checkpoints import records as stored_records
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.format.sealed import COVER_LABEL
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.gc import collect
from holdfast_server.stores.file import FileStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import folder_objects
from tests.support.archives import archive_of, put_into
from tests.support.budget import amount

FORMAT = Format("test", 1)
GRACE = 1000.0
KEYS = WorkflowKeys("n", "w")


async def save(client, number, **fields):
    name = f"c{number}"
    await client.save("n", "w", content(number), format=FORMAT, labels={"number": name}, checkpoint_id=name, **fields)
    await client.attach("n", "w", name, [Record("result", content(number))])


def content(number):
    return f"content {number}".encode() * 300


async def collected(folder, retention=None, keys=KEYS, times=3):
    """Collect a workflow some times, the grace after each other, as further servers of the folder do."""
    async with FileStore.open(folder) as store:
        log = Log(store, grace_seconds=GRACE)
        for number in range(1, 1 + times):
            await collect(log, keys, retention or Retention(), time.time() + 2 * GRACE * number)


async def require_readable(client, numbers):
    """Check that a client reads these checkpoints, their labels and records, and that there are no others."""
    found = {each.checkpoint_id: each.labels async for each in client.list("n", "w")}
    assert found == {f"c{number}": {"number": f"c{number}"} for number in numbers}
    for number in numbers:
        loaded = await client.load("n", "w", f"c{number}", records=True)
        assert (loaded.data, [record.data for record in loaded.records]) == (content(number), [content(number)])


def batches_of_keys(folder):
    """Return how many stored objects hold data keys that were wrapped again."""
    return len(folder_objects.objects_with(folder, KEYS_MAGIC[1:], "*/rec/*"))


async def test_data_keys_of_checkpoints_that_retention_keeps_stay_and_the_others_go(
    served, client, rewrapping, renewed
):
    for number in range(5):
        await save(client, number, pinned=number == 1)
    assert (await rewrapping.rewrap_keys("n")).data_keys == 10
    assert batches_of_keys(served.folder) == 5
    await collected(served.folder, Retention(keep_last=2))
    await require_readable(renewed, [1, 3, 4])
    assert batches_of_keys(served.folder) == 3
    assert (await rewrapping.rewrap_keys("n")).data_keys == 0


async def test_parents_that_a_kept_checkpoint_needs_keep_their_data_keys(served, client, rewrapping, renewed):
    for number in range(4):
        await save(client, number, parent_id=f"c{number - 1}" if number else "", needs_parent=number > 1)
    await rewrapping.rewrap_keys("n")
    await collected(served.folder, Retention(keep_last=1))
    await require_readable(renewed, [1, 2, 3])


async def test_a_checkpoint_that_was_replaced_or_saved_again_after_its_deletion_gets_its_own_data_keys(
    served, client, rewrapping, renewed
):
    for number in range(3):
        await save(client, number)
    await rewrapping.rewrap_keys("n")
    await client.delete("n", "w", "c0", purge=True)
    await collected(served.folder)
    await save(client, 0, replace=True)
    await client.save("n", "w", content(1), format=FORMAT, checkpoint_id="c1", labels={"number": "c1"}, replace=True)
    with pytest.raises(EncryptionKeyMissingError):
        await renewed.load("n", "w", "c0")
    # Two of the checkpoint that was purged with its records, one of the one that was replaced and kept its records.
    assert (await rewrapping.rewrap_keys("n")).data_keys == 3
    await collected(served.folder)
    await require_readable(renewed, [0, 1, 2])


@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("operation", ["list", "put_if_absent"])
async def test_what_a_run_attaches_to_a_checkpoint_that_is_deleted_beside_it_is_collected(
    served, client, rewrapping, renewed, purge, operation
):
    for number in range(2):
        await save(client, number)
    deleted = []

    async def delete(found, key):
        if found == operation and "/rec/" in key and not deleted:
            deleted.append(key)
            await client.delete("n", "w", "c1", purge=purge)

    served.store.before = delete
    done = await rewrapping.rewrap_keys("n")
    assert deleted
    assert done.failed == 0
    await collected(served.folder)
    assert batches_of_keys(served.folder) == 1
    await require_readable(renewed, [0])


async def test_a_checkpoint_whose_records_have_no_room_is_a_failure_and_the_others_are_wrapped_again(
    served, client, rewrapping, renewed, monkeypatch
):
    for number in range(3):
        await save(client, number)
    # The limit is that of a checkpoint: one record is attached to each, and the middle one has a second.
    await client.attach("n", "w", "c1", [Record("more", b"more")])
    monkeypatch.setattr(stored_records, "MAX_CHECKPOINT_BYTES", 2 * (16 << 10))
    done = await rewrapping.rewrap_keys("n")
    assert (done.checkpoints, done.data_keys, done.failed) == (3, 4, 1)
    [failure] = done.failures
    assert (failure.workflow_id, failure.checkpoint_id, failure.reason) == ("w", "c1", "QUOTA_EXCEEDED")
    for number in (0, 2):
        assert (await renewed.load("n", "w", f"c{number}")).data == content(number)
    monkeypatch.undo()
    assert (await rewrapping.rewrap_keys("n")).data_keys == 3


async def test_an_archive_has_the_data_keys_that_were_wrapped_again(
    connect, served, client, rewrapping, new_key, tmp_path
):
    for number in range(3):
        await save(client, number)
    await rewrapping.rewrap_keys("n")
    async with FileStore.open(served.folder) as store:
        archive, findings = await archive_of(store, Scope("n", "w"))
    assert findings == []
    async with FileStore.open(tmp_path / "restored") as store:
        await put_into(store, archive)
    target = (tmp_path / "restored").as_uri()
    async with holdfast.AsyncClient(target, encryption=holdfast.Keyring(new_key)) as restored:
        await require_readable(restored, [0, 1, 2])


async def test_an_encrypted_workflow_is_not_copied_for_a_client_without_a_keyring_either(client, plain, rewrapping):
    await save(client, 0)
    await rewrapping.rewrap_keys("n")
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match="'c0' is encrypted and bound to its workflow"):
            await plain.copy_workflow("n", "w", "copy", request_id="r")
    assert [each.workflow_id async for each in plain.list_workflows("n")] == ["w"]


def test_servers_recognise_encrypted_checkpoints_as_clients_do():
    assert COVER_LABEL == FIRST_COVER_LABEL


STEPS = ("save", "save", "save", "replace", "delete", "purge", "prune", "retire", "collect", "rewrap")


class World:
    """A workflow in a folder, the keys of its tenant, and the checkpoints that should be live."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.older = LocalKey.generate("0")
        self.newest = self.older.successor("1")
        self.live = []
        self.number = 0

    def client(self, *keys):
        return holdfast.AsyncClient(self.folder.as_uri(), timeout=20, encryption=holdfast.Keyring(*keys))

    async def step(self, what, pick, *, is_by_old_writer):
        keys = (self.older, self.newest) if is_by_old_writer else (self.newest, self.older)
        async with self.client(*keys) as client:
            if what == "rewrap":
                await self.rewrap()
            elif what in ("collect", "retire"):
                await collected(self.folder, Retention(keep_last=2) if what == "retire" else None, times=2)
                self.live = self.live[-2:] if what == "retire" else self.live
            elif what == "prune":
                await client.prune("n", "w", keep_last=1 + pick % 3)
                self.live = self.live[-1 - pick % 3 :]
            elif what == "save" or not self.live:
                await save(client, self.number)
                self.live.append(self.number)
                self.number += 1
            elif what == "replace":
                number = self.live.pop(pick % len(self.live))
                await save(client, number, replace=True)
                self.live.append(number)
            else:
                number = self.live.pop(pick % len(self.live))
                await client.delete("n", "w", f"c{number}", purge=what == "purge")

    async def rewrap(self):
        """Wrap all data keys by the newest key, forget the others, and begin the next rotation."""
        async with self.client(self.newest, self.older) as client:
            assert (await client.rewrap_keys("n")).failed == 0
            assert (await client.rewrap_keys("n")).data_keys == 0
        async with self.client(self.newest) as client:
            await require_readable(client, self.live)
        self.older, self.newest = self.newest, self.newest.successor(str(int(self.newest.id) + 1))


@settings(max_examples=amount(small=6, full=100), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 1000), st.booleans()), max_size=20))
async def test_whatever_happened_between_two_runs_the_newest_key_alone_reads_everything(steps):
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        for what, pick, is_by_old_writer in [("save", 0, True), *steps, ("rewrap", 0, False), ("collect", 0, False)]:
            await world.step(what, pick, is_by_old_writer=is_by_old_writer)
        async with world.client(world.older) as client:
            await require_readable(client, world.live)
