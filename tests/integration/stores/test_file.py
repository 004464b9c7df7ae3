"""What only a folder store promises."""

import asyncio
import errno
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest
from holdfast_server.protocol.checkpoints import workflows
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys, new_blob
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.stores.base import (
    NothingWrittenError,
    ObjectNotFoundError,
    StoreAccessDeniedError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreGoneError,
    StoreSettingsError,
    StoreUnavailableError,
    erasing,
    freeing_space,
)
from holdfast_server.stores.file import FileStore, file_systems
from holdfast_server.stores.file.blobs import BlobDraft
from holdfast_server.stores.file.checkpoints import LARGEST_WAL_BYTES
from holdfast_server.stores.file.errors import of_database, of_errno
from holdfast_server.stores.file.folder import Access, StoreFolder
from holdfast_server.stores.file.upload import LARGEST_ROW_BYTES
from holdfast_server.stores.traced import TracedStore

from tests.support import folder_objects
from tests.support.workflows import Workflow

LARGE = b"x" * (LARGEST_ROW_BYTES + 1)


def blobs(folder):
    return list((folder / "blobs").iterdir())


async def upload(store, key, data):
    async with store.put(key) as writer:
        for start in range(0, len(data), 100_000):
            await writer.write(data[start : start + 100_000])
        await writer.finish()


async def test_a_cancelled_write_does_not_affect_the_others(tmp_path):
    async with FileStore.open(tmp_path) as store:
        puts = [asyncio.create_task(store.put_if_absent(f"a/{number}", b"x" * 60_000)) for number in range(100)]
        await asyncio.sleep(0)
        for put in puts[::2]:
            put.cancel()
        results = await asyncio.gather(*puts, return_exceptions=True)
        assert results[1::2] == [True] * 50
        assert await store.put_if_absent("a/last", b"x")


async def test_every_kind_of_change_can_be_in_one_transaction(tmp_path):
    async with FileStore.open(tmp_path) as store:
        for key in ("replaced", "deleted", "taken"):
            assert await store.put_if_absent(key, b"old")
        results = await asyncio.gather(
            store.put_if_absent("new", b"new"),
            store.put_if_absent("taken", b"new"),
            store.replace("replaced", b"new"),
            store.delete("deleted"),
            store.put_if_absent("large", LARGE),
            store.put_if_absent("same", b"1"),
            store.put_if_absent("same", b"2"),
        )
        assert (results[0], results[1], results[4]) == (True, False, True)
        assert {results[5], results[6]} == {True, False}
        assert [each.key for each in await store.list("")] == ["large", "new", "replaced", "same", "taken"]
        assert (await store.get("replaced")).data == b"new"
        assert (await store.get("taken")).data == b"old"


async def test_a_large_object_is_a_file_and_a_small_one_is_not(tmp_path):
    async with FileStore.open(tmp_path) as store:
        await upload(store, "small", LARGE[1:])
        assert blobs(tmp_path) == []
        await upload(store, "uploaded", LARGE)
        assert await store.put_if_absent("put", LARGE)
        assert len(blobs(tmp_path)) == 2
        assert not await store.put_if_absent("put", LARGE)
        await store.replace("put", LARGE)
        assert len(blobs(tmp_path)) == 2
        for key in ("small", "uploaded", "put"):
            found = await store.get(key, offset=5, length=10)
            assert (found.data, found.size_bytes) == (b"x" * 10, len(LARGE) - (key == "small"))
            await store.delete(key)
        assert blobs(tmp_path) == []


async def test_an_upload_that_is_not_finished_leaves_no_file(tmp_path):
    async with FileStore.open(tmp_path) as store:
        async with store.put("a") as writer:
            await writer.write(LARGE)
            assert len(blobs(tmp_path)) == 1
        assert blobs(tmp_path) == []
        await upload(store, "b", LARGE)
        with pytest.raises(StoreUnavailableError, match="already in use"):
            await upload(store, "b", LARGE)
        assert len(blobs(tmp_path)) == 1


async def test_small_objects_take_their_bytes_and_a_twentieth_more(tmp_path):
    sizes = [700 + 37 * number % 2500 for number in range(1000)]
    async with FileStore.open(tmp_path) as store:
        for number, size in enumerate(sizes):
            assert await store.put_if_absent(f"{number}", os.urandom(size))
        assert len((await store.get("999")).data) == sizes[999]
    assert (tmp_path / "holdfast.db").stat().st_size < 1.05 * sum(sizes)


async def test_an_object_without_its_file_or_with_other_bytes_is_damaged(tmp_path):
    async with FileStore.open(tmp_path) as store:
        await upload(store, "large", LARGE)
        await store.put_if_absent("small", b"small")
        blobs(tmp_path)[0].unlink()
        with folder_objects.database(tmp_path) as database:
            database.execute("UPDATE contents SET value = x'00'")
        for key in ("large", "small"):
            with pytest.raises(StoreDamagedError) as caught:
                await store.get(key)
            assert key in caught.value.detail
        for key in ("large", "small"):
            await store.delete(key)
            with pytest.raises(ObjectNotFoundError):
                await store.get(key)


@pytest.mark.parametrize("name", ["holdfast.db", "holdfast.db-wal", "holdfast.db-shm", "holdfast.lock", "blobs"])
@pytest.mark.parametrize("kind", ["link", "pipe", "hard link", "folder", "file"])
async def test_nothing_but_plain_files_of_its_own_is_opened(tmp_path, name, kind):
    folder = tmp_path / "store"
    async with FileStore.open(folder):
        pass
    elsewhere = tmp_path / "elsewhere"
    target = folder / name
    if target.is_dir():
        target.rmdir()
    target.unlink(missing_ok=True)
    if kind == "link":
        target.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(target)
    elif kind == "hard link":
        elsewhere.write_bytes(b"")
        target.hardlink_to(elsewhere)
    elif kind == "folder":
        target.mkdir()
    else:
        target.write_bytes(b"")
    if (kind == "file" and name != "blobs") or (kind == "folder" and name == "blobs"):
        async with FileStore.open(folder) as store:
            assert await store.put_if_absent("a", b"x")
        return
    with pytest.raises(StoreSettingsError, match=f"{name} in the store's folder: expected ") as caught:
        async with FileStore.open(folder):
            pass
    assert str(target) not in str(caught.value)
    assert not elsewhere.exists() or elsewhere.read_bytes() == b""


@pytest.mark.parametrize("kind", ["link", "pipe"])
async def test_a_file_of_an_object_is_neither_followed_nor_waited_for(tmp_path, kind):
    (tmp_path / "secret").write_bytes(LARGE)
    async with FileStore.open(tmp_path / "store") as store:
        await upload(store, "a", LARGE)
        [blob] = blobs(tmp_path / "store")
        blob.unlink()
        blob.symlink_to(tmp_path / "secret") if kind == "link" else os.mkfifo(blob)
        with pytest.raises(StoreError):
            await store.get("a")


async def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    async with FileStore.open(tmp_path / "link") as store:
        assert await store.put_if_absent("a", b"x")
    assert (tmp_path / "real" / "holdfast.db").is_file()


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
@pytest.mark.parametrize(("group", "file", "folder"), [(None, 0o600, 0o700), (os.getgid(), 0o660, 0o2770)])
async def test_only_the_user_or_the_group_can_use_the_files_whatever_the_umask(tmp_path, umask, group, file, folder):
    root = tmp_path / "new" / "store"
    before = os.umask(umask)
    try:
        async with FileStore.open(root, access=Access(group)) as store:
            assert await store.put_if_absent("small", b"x")
            await upload(store, "large", LARGE)
            found = {path: stat.S_IMODE(path.stat().st_mode) for path in (root.parent, root, *root.rglob("*"))}
    finally:
        os.umask(before)
    assert {path.name for path in found} >= {"holdfast.db", "holdfast.db-wal", "holdfast.db-shm", "holdfast.lock"}
    assert {mode for path, mode in found.items() if path.is_file() or path.suffix} == {file}
    assert {mode for path, mode in found.items() if path.is_dir()} == {folder}


async def test_an_existing_store_keeps_its_group(tmp_path):
    async with FileStore.open(tmp_path, access=Access(os.getgid())):
        pass
    async with FileStore.open(tmp_path) as store:
        await upload(store, "large", LARGE)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o660}


@pytest.mark.parametrize("magic", [0x6969, 0xFE534D42, 0x01021997])
async def test_a_network_file_system_is_refused(tmp_path, monkeypatch, magic):
    monkeypatch.setattr(file_systems, "file_system_of", lambda descriptor: magic)
    with pytest.raises(StoreSettingsError, match=r"is on a network file system \(\w+\), expected a local one"):
        async with FileStore.open(tmp_path / "store"):
            pass


def test_a_file_system_is_recognised_by_its_number():
    descriptor = os.open("/proc", os.O_RDONLY)
    try:
        assert file_systems.file_system_of(descriptor) == 0x9FA0
    finally:
        os.close(descriptor)


async def test_a_folder_of_the_old_layout_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "holdfast.json").write_text("{}")
    with pytest.raises(StoreSettingsError, match=r"Holdfast 0\.1 .*: serve it with version 0\.1, or choose an empty"):
        async with FileStore.open(tmp_path):
            pass
    assert [each.name for each in tmp_path.iterdir()] == ["holdfast.json"]


@pytest.mark.parametrize(
    ("statement", "error", "words"),
    [
        ("CREATE TABLE t (x)", StoreSettingsError, "is not one of Holdfast"),
        ("PRAGMA user_version = 99", StoreSettingsError, "has version 99, this server reads version 2"),
        ("PRAGMA user_version = 1", StoreSettingsError, "has version 1, this server reads version 2"),
        (None, StoreDamagedError, "is damaged: it is not a database"),
    ],
)
async def test_another_database_is_refused(tmp_path, statement, error, words):
    if statement is None:
        (tmp_path / "holdfast.db").write_bytes(b"something else" * 1000)
    else:
        if "PRAGMA" in statement:
            async with FileStore.open(tmp_path):
                pass
        with sqlite3.connect(tmp_path / "holdfast.db") as database:
            database.execute(statement)
        database.close()
    with pytest.raises(error, match=words):
        async with FileStore.open(tmp_path):
            pass


@pytest.mark.parametrize("happens", ["moved", "deleted", "replaced"])
async def test_a_folder_that_is_no_longer_in_its_place_is_neither_written_nor_read(tmp_path, happens):
    folder = tmp_path / "store"
    async with FileStore.open(folder) as store:
        assert await store.put_if_absent("a", b"x")
        if happens == "deleted":
            shutil.rmtree(folder)
        else:
            folder.rename(tmp_path / "elsewhere")
        if happens == "replaced":
            async with FileStore.open(folder) as other:
                assert await other.put_if_absent("a", b"other")
        for call in (store.put_if_absent("b", b"x"), store.replace("b", b"x"), store.delete("a"), store.get("a")):
            with pytest.raises(StoreGoneError):
                await call
        with pytest.raises(StoreGoneError):
            await store.list("")


async def test_a_save_into_a_folder_that_is_moved_at_that_moment_is_not_acknowledged(tmp_path, monkeypatch):
    async with FileStore.open(tmp_path / "store") as store:
        committed = store._checkpoints.committed

        def move(written_bytes):
            committed(written_bytes)
            (tmp_path / "store").rename(tmp_path / "elsewhere")

        monkeypatch.setattr(store._checkpoints, "committed", move)
        with pytest.raises(StoreUnavailableError) as caught:
            await store.put_if_absent("a", b"x")
        # It is there, for whoever finds the folder.
        assert not isinstance(caught.value, NothingWrittenError)
    assert folder_objects.read(tmp_path / "elsewhere", "a") == b"x"


RACER = """
import asyncio, sys
from pathlib import Path
from holdfast_server.stores.file import FileStore

async def main(folder, name):
    async with FileStore.open(Path(folder)) as store:
        for start in range(0, 600, 30):
            keys = [f"race/{number:03}" for number in range(start, start + 30)]
            won = await asyncio.gather(*(store.put_if_absent(key, name.encode()) for key in keys))
            for key, is_won in zip(keys, won):
                found = (await store.get(key)).data
                assert (found == name.encode()) == is_won, (key, found, is_won)
                if is_won:
                    print(key)

asyncio.run(main(*sys.argv[1:]))
"""


def test_of_several_processes_one_wins_each_key(tmp_path):
    command = [sys.executable, "-c", RACER, str(tmp_path)]
    racers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "abc"]
    won = [key for racer in racers for key in racer.communicate()[0].split()]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert sorted(won) == [f"race/{number:03}" for number in range(600)]


async def test_the_write_ahead_log_stays_small_and_is_gone_at_the_end(tmp_path):
    async with FileStore.open(tmp_path) as store:
        for number in range(40):
            await asyncio.gather(*(store.put_if_absent(f"{number}/{each}", os.urandom(50_000)) for each in range(32)))
            assert (tmp_path / "holdfast.db-wal").stat().st_size < 8 * LARGEST_WAL_BYTES
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "blobs",
        "holdfast.db",
        "holdfast.lock",
        "holdfast.reserve",
    ]
    async with FileStore.open(tmp_path) as store:
        assert len(await store.list("", limit=2000)) == 40 * 32


async def test_erased_bytes_are_in_no_file(tmp_path):
    async with FileStore.open(tmp_path) as store:
        for number in range(50):
            await store.put_if_absent(f"secret/{number}", b"the-secret-value" * (number + 1))
            await store.put_if_absent(f"other/{number}", b"x" * 5000)
        await upload(store, "secret/large", b"the-secret-value" * 50_000)
        assert folder_objects.files_with(tmp_path, b"the-secret-value")
        with erasing():
            await asyncio.gather(*(store.delete(f"secret/{number}") for number in range(1, 50)))
            await store.delete("secret/large")
            await store.replace("secret/0", b"nothing")
        assert folder_objects.files_with(tmp_path, b"the-secret-value") == []
        assert len(await store.list("other/")) == 50
        assert (await store.get("secret/0")).data == b"nothing"


async def test_deleted_bytes_are_in_no_file_once_the_store_is_closed(tmp_path):
    async with FileStore.open(tmp_path) as store:
        await store.put_if_absent("secret", b"the-secret-value" * 1000)
        await store.delete("secret")
    assert folder_objects.files_with(tmp_path, b"the-secret-value") == []


async def test_a_full_disk_refuses_saves_and_leaves_room_for_deletions(tmp_path, monkeypatch):
    async with FileStore.open(tmp_path) as store:
        await store.put_if_absent("a", b"x" * 100_000)
        assert (tmp_path / "holdfast.reserve").stat().st_blocks * 512 >= LARGEST_WAL_BYTES
        [pages] = store._connections[0].execute("PRAGMA page_count").fetchone()
        store._connections[0].execute(f"PRAGMA max_page_count = {pages}")
        give_up = store._reserve.give_up

        def make_room():
            give_up()
            store._connections[0].execute(f"PRAGMA max_page_count = {pages + 100}")

        monkeypatch.setattr(store._reserve, "give_up", make_room)
        with pytest.raises(StoreFullError):
            await store.put_if_absent("b", b"x" * 100_000)
        with freeing_space():
            assert await store.put_if_absent("deletion", b"x" * 100_000)
        assert not (tmp_path / "holdfast.reserve").exists()

        def fail(name):
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(store._folder, "create_file", fail)
        with pytest.raises(StoreFullError):
            await store.put_if_absent("c", b"x")
        with freeing_space():
            await store.delete("a")


async def damage_page(folder, table, *, last=False):
    """Overwrite the page in the middle of a table, or its last one. No process may have the store open."""
    with folder_objects.database(folder) as database:
        pages = [
            page
            for (page,) in database.execute(
                "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path", (table,)
            )
        ]
    page = pages[-1 if last else len(pages) // 2]
    with (folder / "holdfast.db").open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


async def test_a_damaged_page_costs_the_objects_in_it_and_no_others(tmp_path):
    keys = [f"k/{number:04}" for number in range(500)]
    async with FileStore.open(tmp_path) as store:
        await asyncio.gather(*(store.put_if_absent(key, key.encode() * 50) for key in keys))
    await damage_page(tmp_path, "contents")
    async with FileStore.open(tmp_path) as store:
        found = await asyncio.gather(*(store.get(key) for key in keys), return_exceptions=True)
        damaged = [each for each in found if isinstance(each, StoreDamagedError)]
        assert 1 <= len(damaged) <= 20
        assert all(each.data == key.encode() * 50 for key, each in zip(keys, found, strict=True) if each not in damaged)
        assert "holdfast.db" in damaged[0].detail
        assert str(tmp_path) not in str(damaged[0])
        assert len(await store.list("k/")) == 500
        assert await store.put_if_absent("k/new", b"x")


async def test_a_damaged_page_of_keys_fails_only_the_writes_into_it_and_beside_it(tmp_path):
    keys = [f"k/{number:05}" for number in range(0, 4000, 2)]
    async with FileStore.open(tmp_path) as store:
        await asyncio.gather(*(store.put_if_absent(key, b"x") for key in keys))
    await damage_page(tmp_path, "objects")
    async with FileStore.open(tmp_path) as store:
        others = [f"k/{number:05}" for number in range(1, 4000, 2)]
        results = await asyncio.gather(*(store.put_if_absent(key, b"y") for key in others), return_exceptions=True)
        refused = [each for each in results if isinstance(each, StoreDamagedError)]
        # A page that is full is divided together with the pages beside it.
        assert 1 <= len(refused) <= 600
        assert all(each is True for each in results if each not in refused)
        assert (await store.get("k/00000")).data == (await store.get("k/03998")).data == b"x"


async def test_a_listing_says_where_the_damage_of_a_page_ends(tmp_path):
    keys = [f"k/{number:05}" for number in range(2000)]
    async with FileStore.open(tmp_path) as store:
        await asyncio.gather(*(store.put_if_absent(key, b"x") for key in keys))
    await damage_page(tmp_path, "objects")
    async with FileStore.open(tmp_path) as store:
        with pytest.raises(StoreDamagedError) as caught:
            await store.list("k/", limit=3000)
        before = [each.key for each in caught.value.listed]
        resumed = await store.list("k/", start_after=caught.value.resume_at, limit=3000)
        after = [caught.value.resume_at, *(each.key for each in resumed)]
        assert before == keys[: len(before)]
        assert after == keys[-len(after) :]
        assert 1 <= len(keys) - len(before) - len(after) <= 200


async def test_a_check_and_a_sweep_end_at_a_damaged_page_after_which_nothing_can_be_listed(tmp_path):
    names = [f"w{number:03}" for number in range(200)]
    async with FileStore.open(tmp_path) as store:
        log = Log(store, grace_seconds=0)
        for name in names:
            await Workflow(log, WorkflowKeys("n", name)).save(b"x")
    await damage_page(tmp_path, "objects", last=True)
    async with FileStore.open(tmp_path) as store:
        findings = []
        await fsck(Log(store, grace_seconds=0), on_finding=findings.append)
        assert any("cannot be listed" in each.what for each in findings)
        assert (await sweep(Log(store, grace_seconds=0), Policies({}))).damaged == 1


async def walked(store):
    """Return the keys that a walk in small pages finds, past damage."""
    found, position = [], ""
    while position is not None:
        try:
            page = await store.list("", start_after=position, limit=5)
        except StoreDamagedError as error:
            page, position = error.listed, error.resume_at
        else:
            position = page[-1].key if page else None
        found += [each.key for each in page]
    return found


@pytest.mark.parametrize("bit", range(8))
async def test_a_walk_past_a_flipped_bit_of_any_key_ends_and_repeats_nothing(tmp_path, bit):
    keys = [f"k/{number:02}" for number in range(12)]
    async with FileStore.open(tmp_path / "whole") as store:
        for key in keys:
            await store.put_if_absent(key, b"x")
    content = (tmp_path / "whole" / "holdfast.db").read_bytes()
    for number, key in enumerate(keys):
        for place in range(len(key)):
            damaged = bytearray(content)
            damaged[content.index(key.encode()) + place] ^= 1 << bit
            shutil.copytree(tmp_path / "whole", tmp_path / f"{key[2:]}-{place}")
            (tmp_path / f"{key[2:]}-{place}" / "holdfast.db").write_bytes(damaged)
            async with FileStore.open(tmp_path / f"{key[2:]}-{place}") as store:
                found = await walked(store)
            assert found == sorted(set(found))
            assert found[:number] == keys[:number]


async def test_a_row_with_impossible_fields_is_damage(tmp_path):
    async with FileStore.open(tmp_path) as store:
        for key in ("a", "b", "c", "d"):
            await store.put_if_absent(key, b"x")
    with folder_objects.database(tmp_path) as database:
        database.execute("UPDATE objects SET size = 'one' WHERE key = 'a'")
        database.execute("UPDATE objects SET content = NULL, file = '../holdfast.lock' WHERE key = 'b'")
        database.execute("UPDATE objects SET modified = 'x' WHERE key = 'c'")
        database.execute("UPDATE objects SET rest = content WHERE key = 'd'")
    async with FileStore.open(tmp_path) as store:
        for key in ("a", "b", "d"):
            with pytest.raises(StoreDamagedError):
                await store.get(key)
        with pytest.raises(StoreDamagedError):
            await store.list("")
        with pytest.raises(StoreDamagedError) as caught:
            await store.list("", start_after="b")
        assert caught.value.resume_at == "d"
        await store.delete("b")
        assert (tmp_path / "holdfast.lock").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [("modified", "9e999"), ("modified", "-9e999"), ("modified", -1.0), ("modified", 1e300), ("size", -1)],
)
async def test_a_sweep_leaves_a_workflow_alone_that_has_an_object_with_an_impossible_field(tmp_path, field, value):
    keys = WorkflowKeys("n", "w")
    async with FileStore.open(tmp_path) as store, store.put(keys.blob(new_blob(0, "0" * 32))) as upload:
        await upload.write(b"x")
        await upload.finish()
    with folder_objects.database(tmp_path) as database:
        database.execute(f"UPDATE objects SET {field} = {value} WHERE key LIKE 'ns/%'")
    async with FileStore.open(tmp_path) as store:
        failed = []
        collected = await sweep(
            Log(store, grace_seconds=3600), Policies({}), on_failed=lambda key, error: failed.append(str(error))
        )
        findings = []
        await fsck(Log(store, grace_seconds=3600), on_finding=findings.append)
    assert (collected.damaged, collected.blobs) == (1, 0)
    assert failed == ["a row of the store's database is damaged"]
    assert len(findings) == 1
    assert len(folder_objects.keys(tmp_path, "ns/*")) == 1


@pytest.mark.parametrize("size", [0, 1 << 19, (1 << 20) - 1, (1 << 20) + 1, 1 << 49])
async def test_an_object_whose_size_is_not_that_of_its_file_is_damaged(tmp_path, size):
    async with FileStore.open(tmp_path) as store:
        async with store.put("a") as upload:
            await upload.write(bytes(1 << 20))
            await upload.finish()
        with folder_objects.database(tmp_path) as database:
            database.execute("UPDATE objects SET size = ?", (size,))
        for offset, length in ((0, None), (0, 1), (1 << 18, 1 << 18)):
            with pytest.raises(StoreDamagedError):
                await store.get("a", offset=offset, length=length)
        [listed] = await store.list("")
        assert listed.size_bytes == size


async def test_an_object_without_its_second_row_is_damaged_and_can_be_deleted(tmp_path):
    async with FileStore.open(tmp_path) as store:
        for number in range(20):
            await store.put_if_absent(f"{number:02}", b"x" * 3000)
    with folder_objects.database(tmp_path) as database:
        [(cut, rest), *_] = database.execute("SELECT key, rest FROM objects WHERE rest IS NOT NULL").fetchall()
        database.execute("DELETE FROM contents WHERE id = ?", (rest,))
    async with FileStore.open(tmp_path) as store:
        with pytest.raises(StoreDamagedError):
            await store.get(cut)
        await store.delete(cut)
        with pytest.raises(ObjectNotFoundError):
            await store.get(cut)


async def test_a_cut_object_leaves_no_row_when_it_is_deleted(tmp_path):
    async with FileStore.open(tmp_path) as store:
        for number in range(20):
            await store.put_if_absent(f"{number:02}", b"x" * 3000)
        assert [(await store.get("10", offset=offset, length=2)).data for offset in (0, 1500, 2999)] == [
            b"xx",
            b"xx",
            b"x",
        ]
        for number in range(20):
            await store.delete(f"{number:02}")
    with folder_objects.database(tmp_path) as database:
        assert database.execute("SELECT count(*) FROM contents").fetchone() == (0,)


async def test_no_file_is_swept_while_the_database_is_damaged(tmp_path):
    def replace_in_index(old, new):
        with folder_objects.database(tmp_path) as database:
            database.execute("PRAGMA writable_schema = ON")
            database.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'files'", (old, new))

    async with FileStore.open(tmp_path) as store:
        await upload(store, "large", LARGE)
    # As if the index had lost the row of an object that has a file.
    replace_in_index("IS NOT NULL", "= ''")
    with folder_objects.database(tmp_path) as database:
        database.execute("REINDEX files")
    replace_in_index("= ''", "IS NOT NULL")
    async with FileStore.open(tmp_path) as store:
        with pytest.raises(StoreDamagedError, match="files cannot be swept"):
            await store.sweep_files(0)
        assert (await store.get("large")).size_bytes == len(LARGE)


async def test_a_damaged_page_of_keys_hides_the_workflows_in_it_and_no_others(tmp_path):
    names = [f"w{number:03}" for number in range(200)]
    async with FileStore.open(tmp_path) as store:
        log = Log(store, grace_seconds=0)
        for name in names:
            await Workflow(log, WorkflowKeys("n", name)).save(b"x")
    await damage_page(tmp_path, "objects")
    async with FileStore.open(tmp_path) as store:
        log = Log(store, grace_seconds=0)
        listed = [head.keys.workflow_id for head in (await workflows.page(log, "n", "", 1000)).heads]
        assert 1 <= len(names) - len(listed) <= 60
        assert (listed[0], listed[-1]) == (names[0], names[-1])
        refused = 0
        for name in names:
            found = await asyncio.gather(Workflow(log, WorkflowKeys("n", name)).load(), return_exceptions=True)
            if found != [b"x"]:
                assert isinstance(found[0], HoldfastError)
                assert found[0].reason is Reason.CHECKPOINT_CORRUPTED
                refused += 1
        assert 1 <= refused <= 60
        findings = []
        checked = await fsck(log, on_finding=findings.append)
        assert any("cannot be listed" in each.what for each in findings)
        assert checked.workflows >= len(names) - refused - 2
        assert (await sweep(log, Policies({}))).damaged >= 1


async def test_no_thread_uses_the_database_while_the_store_is_suspended(tmp_path):
    async with FileStore.open(tmp_path) as store:
        assert await store.put_if_absent("a", b"x")
        with store.suspended():
            # The last connection removes the log.
            assert not (tmp_path / "holdfast.db-wal").exists()
            put = asyncio.create_task(store.put_if_absent("b", b"x"))
            get = asyncio.create_task(store.get("a"))
            await asyncio.wait([put, get], timeout=0.1)
            assert not put.done()
        assert await put
        assert (await get).data == b"x"


async def test_no_thread_is_left_after_the_end(tmp_path):
    before = set(threading.enumerate())
    async with FileStore.open(tmp_path) as store:
        await store.put_if_absent("a", b"x")
        await upload(store, "b", LARGE)
        await store.get("b", length=1 << 20)
        own = [each for each in set(threading.enumerate()) - before if each.name.startswith("holdfast")]
        # One does not keep the interpreter from ending.
        assert own
        assert all(each.daemon for each in own)
    assert not [each for each in own if each.is_alive()]
    with pytest.raises(RuntimeError, match="closed"):
        await store.get("a")


async def test_a_sweep_removes_the_files_of_uploads_that_were_cut_off_and_no_others(tmp_path):
    def leave():
        draft = BlobDraft(StoreFolder(tmp_path, Access()))
        draft.append(b"x")
        os.close(draft._descriptor)

    async with FileStore.open(tmp_path) as store:
        await upload(store, "finished", LARGE)
        leave()
        (tmp_path / "blobs" / "notes.txt").write_text("not of the store")
        (tmp_path / "blobs" / ("0" * 32)).symlink_to(tmp_path / "holdfast.db")
        async with store.put("under way") as writer:
            await writer.write(LARGE)
            assert await store.sweep_files(3600) == 0
            assert len(blobs(tmp_path)) == 5
            assert await store.sweep_files(0) == 1
            await writer.finish()
        assert len(blobs(tmp_path)) == 4
        for key in ("finished", "under way"):
            assert (await store.get(key)).size_bytes == len(LARGE)


async def test_a_collection_sweeps_files_unless_it_is_a_dry_run(tmp_path):
    async with FileStore.open(tmp_path) as store:
        log = Log(TracedStore(store), grace_seconds=0)
        (tmp_path / "blobs" / os.urandom(16).hex()).write_bytes(b"x")
        assert (await sweep(log, Policies({}), dry_run=True)).files == 0
        assert (await sweep(log, Policies({}))).files == 1
        assert blobs(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full (ENOSPC)"),
        (errno.EDQUOT, "the disk quota is used up (EDQUOT)"),
        (errno.EROFS, "is read-only (EROFS)"),
        (errno.EIO, "the disk reported an I/O error (EIO)"),
        (errno.EMFILE, "too many open files (EMFILE)"),
        (errno.ENFILE, "too many open files (ENFILE)"),
        (errno.EACCES, "refuses access (EACCES)"),
        (errno.ENOENT, "is gone"),
        (errno.EXDEV, "failed (EXDEV)"),
        (0, "failed (unknown error)"),
    ],
)
def test_an_error_of_the_file_system_is_explained_in_words(number, words):
    for may_be_written in (True, False):
        assert str(of_errno(number, "/x", may_be_written=may_be_written)).endswith(words)


def test_an_error_after_a_write_does_not_promise_that_nothing_was_written():
    assert type(of_errno(errno.EROFS, "/x", may_be_written=True)) is StoreUnavailableError
    assert type(of_errno(errno.ENOSPC, "/x", may_be_written=True)) is StoreUnavailableError
    assert type(of_errno(errno.EROFS, "/x")) is StoreAccessDeniedError
    assert isinstance(of_errno(errno.ENOSPC, "/x"), NothingWrittenError)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("SQLITE_BUSY", NothingWrittenError, StoreUnavailableError),
        ("SQLITE_FULL", StoreFullError, StoreFullError),
        ("SQLITE_IOERR_FSYNC", NothingWrittenError, StoreUnavailableError),
        ("SQLITE_READONLY", StoreAccessDeniedError, StoreUnavailableError),
        ("SQLITE_CANTOPEN", NothingWrittenError, StoreUnavailableError),
        ("SQLITE_NOMEM", NothingWrittenError, StoreUnavailableError),
        ("SQLITE_CORRUPT_VTAB", StoreDamagedError, StoreDamagedError),
        ("SQLITE_NOTADB", StoreDamagedError, StoreDamagedError),
    ],
)
def test_an_error_of_the_database_is_explained_and_says_whether_anything_was_written(name, before, after):
    error = sqlite3.OperationalError("in SQLite's words")
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
    for may_be_written, expected in ((False, before), (True, after)):
        mapped = of_database(error, "/some/path", may_be_written=may_be_written)
        assert type(mapped) is expected
        assert str(mapped).startswith("the store's database ")
        assert str(mapped).endswith(f"({name})")
        assert mapped.detail == f"/some/path: in SQLite's words ({name})"
