"""Failures that only a folder store can have."""

import asyncio
import errno
import os
import signal

import pytest
import uvloop
from holdfast_server.stores.base import NothingWrittenError, StoreAccessDeniedError, StoreUnavailableError
from holdfast_server.stores.draft import TEMPORARY_FOLDER, Drafts
from holdfast_server.stores.file import FileStore
from holdfast_server.stores.file_errors import of_failed_create
from holdfast_server.stores.folders import MARK, Folder, Folders, make_root

from tests.support.servers import children


async def test_a_lane_that_dies_fails_its_batch_and_is_replaced(tmp_path):
    before = set(children(os.getpid()))
    async with FileStore.open(tmp_path) as store:
        assert await store.put_if_absent("a/1", b"one")
        [lane] = set(children(os.getpid())) - before
        os.kill(lane, signal.SIGSTOP)
        waiting = asyncio.create_task(store.put_if_absent("a/2", b"two"))
        # Enough turns of the loop for the batch to be sent.
        for _ in range(10):
            await asyncio.sleep(0)
        os.kill(lane, signal.SIGKILL)
        with pytest.raises(StoreUnavailableError, match="died"):
            await waiting
        assert await store.put_if_absent("a/3", b"three")
        assert [each.key for each in await store.list("a/")] == ["a/1", "a/3"]
    assert set(children(os.getpid())) == before


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_lane_that_died_while_idle_is_replaced_before_the_next_write(run, tmp_path):
    async def scenario():
        before = set(children(os.getpid()))
        async with FileStore.open(tmp_path) as store:
            for number in range(3):
                assert await store.put_if_absent(f"a/{number}", b"x")
                [lane] = set(children(os.getpid())) - before
                os.kill(lane, signal.SIGKILL)
                while lane in children(os.getpid()):  # noqa: ASYNC110 - the kernel sends no event for it
                    await asyncio.sleep(0.01)
            assert await store.put_if_absent("a/last", b"x")

    run(scenario())


async def test_one_object_that_cannot_be_written_does_not_fail_its_batch(tmp_path):
    async with FileStore.open(tmp_path) as store:
        assert await store.put_if_absent("file", b"")
        keys = ["a/1", "file/below", "a/2", "a/1", "b/1"]
        results = await asyncio.gather(*(store.put_if_absent(key, b"x") for key in keys), return_exceptions=True)
        assert isinstance(results[1], StoreUnavailableError)
        assert results[0] is not results[3]
        assert [results[2], results[4]] == [True, True]


async def test_a_cancelled_write_does_not_affect_the_others(tmp_path):
    async with FileStore.open(tmp_path) as store:
        puts = [asyncio.create_task(store.put_if_absent(f"a/{number}", b"x" * 60_000)) for number in range(100)]
        await asyncio.sleep(0)
        for put in puts[::2]:
            put.cancel()
        results = await asyncio.gather(*puts, return_exceptions=True)
        assert results[1::2] == [True] * 50
        assert await store.put_if_absent("a/last", b"x")


async def test_nothing_is_left_in_the_temporary_folder(tmp_path):
    async with FileStore.open(tmp_path) as store:
        await store.put_if_absent("a", b"x")
        async with store.put("b") as writer:
            await writer.write(b"never finished")
    assert list((tmp_path / TEMPORARY_FOLDER).iterdir()) == []
    assert not (tmp_path / "b").exists()


def test_named_temporary_files_are_used_if_the_file_system_has_no_unnamed_ones(tmp_path):
    drafts = Drafts(tmp_path)
    drafts.has_names = True
    with drafts.draft("a/b") as draft:
        draft.append(b"x")
        draft.sync()
        assert len(list((tmp_path / TEMPORARY_FOLDER).iterdir())) == 1
        assert draft.link()
    with drafts.draft("a/b") as late:
        assert not late.link()
    assert (tmp_path / "a" / "b").read_bytes() == b"x"
    assert list((tmp_path / TEMPORARY_FOLDER).iterdir()) == []


@pytest.fixture(params=[False, True], ids=["nameless", "named"])
def drafts(request, tmp_path):
    drafts = Drafts(tmp_path)
    drafts.has_names = request.param
    return drafts


def test_a_name_has_a_mark_until_it_is_durable(drafts, tmp_path):
    with drafts.draft("a/b") as draft:
        draft.append(b"x")
        draft.sync()
        assert draft.link()
        assert (tmp_path / "a/b").stat().st_mode & MARK
        drafts.settle(draft)
    assert not (tmp_path / "a/b").stat().st_mode & MARK
    assert not (tmp_path / "a").stat().st_mode & MARK


def test_a_name_that_was_left_with_its_mark_is_made_durable_by_a_copy(drafts, tmp_path):
    with drafts.draft("a/b") as draft:
        draft.append(b"x")
        draft.sync()
        draft.link()
    before = (tmp_path / "a/b").stat()
    drafts.confirm("a/b")
    after = (tmp_path / "a/b").stat()
    assert (tmp_path / "a/b").read_bytes() == b"x"
    assert after.st_ino != before.st_ino
    assert not after.st_mode & MARK
    drafts.confirm("a/b")
    assert (tmp_path / "a/b").stat().st_ino == after.st_ino
    assert list((tmp_path / TEMPORARY_FOLDER).iterdir()) == []


def test_a_folder_that_is_removed_while_a_file_is_written_is_made_again(drafts, tmp_path):
    with drafts.draft("a/b/c") as draft:
        remove_folders(tmp_path)
        draft.append(b"x")
        draft.sync()
        assert draft.link()
        drafts.settle(draft)
    assert (tmp_path / "a/b/c").read_bytes() == b"x"
    (tmp_path / "a/b/c").unlink()
    remove_folders(tmp_path)
    with drafts.draft("a/b/d") as draft:
        assert draft.link()
    assert (tmp_path / "a/b/d").exists()


def remove_folders(root):
    (root / "a/b").rmdir()
    (root / "a").rmdir()


def test_a_folder_that_was_left_with_its_mark_is_made_again(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o1755)
    before = (tmp_path / "a").stat()
    # An open descriptor keeps the inode number from being reused.
    held = Folder(str(tmp_path / "a"))
    Folders(tmp_path).open("a/b")
    after = (tmp_path / "a").stat()
    assert after.st_ino != before.st_ino
    assert not after.st_mode & MARK
    assert held.is_gone()


def test_a_process_that_was_stopped_while_it_made_a_folder_does_not_block_others_for_ever(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o1755)
    with Folder(str(tmp_path)).locked() as stopped_here:
        assert stopped_here
        Folders(tmp_path).open("a")
    assert not (tmp_path / "a").stat().st_mode & MARK


def test_a_failed_sync_fails_all_writers_that_share_the_folder(tmp_path, monkeypatch):
    folders = Folders(tmp_path)
    shared = folders.open("a")

    def fail(descriptor):
        raise OSError(errno.EIO, "as a disk would")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="as a disk would"):
            shared.sync()
    with pytest.raises(OSError, match="Input/output error"):
        shared.sync()
    assert folders.open("a") is not shared
    folders.open("a").sync()


def test_every_folder_above_a_new_store_is_made_durable(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    make_root(tmp_path / "a/b/store")
    assert synced[:3] == [str(tmp_path / "a/b"), str(tmp_path / "a"), str(tmp_path)]


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
    for may_exist in (True, False):
        assert str(of_failed_create(number, "/x", may_exist=may_exist)).endswith(words)


def test_an_error_after_the_name_was_made_does_not_promise_that_nothing_was_written():
    assert type(of_failed_create(errno.EROFS, "/x", may_exist=True)) is StoreUnavailableError
    assert type(of_failed_create(errno.ENOSPC, "/x", may_exist=True)) is StoreUnavailableError
    assert type(of_failed_create(errno.EROFS, "/x", may_exist=False)) is StoreAccessDeniedError
    assert isinstance(of_failed_create(errno.ENOSPC, "/x", may_exist=False), NothingWrittenError)


async def test_empty_folders_are_removed_with_their_last_object(tmp_path):
    async with FileStore.open(tmp_path) as store:
        for key in ("ns/a/b/c/1", "ns/a/b/c/2", "ns/a/x/1"):
            assert await store.put_if_absent(key, b"x")
        await store.delete("ns/a/b/c/1")
        assert (tmp_path / "ns/a/b/c").is_dir()
        await store.delete("ns/a/b/c/2")
        assert [each.name for each in (tmp_path / "ns/a").iterdir()] == ["x"]
        await store.delete("ns/a/x/1")
        assert list((tmp_path / "ns").iterdir()) == []


async def test_no_file_is_lost_while_others_remove_folders_concurrently(tmp_path):
    async with FileStore.open(tmp_path) as one, FileStore.open(tmp_path) as other:

        async def come_and_go(number: int) -> None:
            store, reader = (one, other) if number % 2 else (other, one)
            for turn in range(60):
                key = f"ns/w{turn % 3}/blob/{number}-{turn}"
                if turn % 5:
                    assert await store.put_if_absent(key, key.encode())
                else:
                    async with store.put(key) as writer:
                        await writer.write(key.encode())
                        await writer.finish()
                assert (await reader.get(key)).data == key.encode()
                await reader.delete(key)

        await asyncio.gather(*(come_and_go(number) for number in range(8)))
        assert await one.list("ns/") == []
    assert list((tmp_path / "ns").iterdir()) == []
