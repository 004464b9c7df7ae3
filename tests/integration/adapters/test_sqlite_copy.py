"""Private copies of SQLite files: whole, removed, and never a change of the original."""

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager

import pytest
from holdfast.adapters import private_folders, sqlite_copy
from holdfast.adapters.private_folders import PrivateFolder, remove_left
from holdfast.adapters.sqlite_copy import copied, read_only, readable
from holdfast.moving import SourceError

from tests.support.untouched import untouched

_KILLED = """
import os, signal, sys
from holdfast.adapters.private_folders import PrivateFolder
folder = PrivateFolder.make()
(folder.path / "copy.db").write_bytes(b"secret")
print(folder.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder / "source.db"


def fill(file, *, mode="DELETE", rows=10):
    connection = sqlite3.connect(file, check_same_thread=False)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE numbers (number)")
    connection.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(rows)])
    connection.commit()
    return connection


def count(connection):
    return connection.execute("SELECT count(*) FROM numbers").fetchone()[0]


@contextmanager
def file_size(limit):
    """Let writes beyond a size fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_copy_of_a_process_that_was_killed_is_removed_by_the_next_one(file, temporary):
    fill(file).close()
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED],
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert os.path.exists(killed.stdout.strip()), killed

    async def names():
        async with copied(file) as copy:
            return copy.parent.name, [path.name for path in temporary.iterdir()]

    name, found = asyncio.run(names())
    assert found == [name]
    assert not list(temporary.iterdir())


def test_a_folder_that_may_be_in_use_stays(temporary, monkeypatch):
    held = PrivateFolder.make()
    (temporary / "elsewhere").mkdir()
    (temporary / "holdfast-import-link").symlink_to(temporary / "elsewhere")
    (temporary / "holdfast-import-file").touch()
    before = sorted(temporary.iterdir())
    remove_left()
    assert sorted(temporary.iterdir()) == before
    os.close(held._lock)
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: -1)
        remove_left()
        assert held.path.exists()
    remove_left()
    assert sorted(temporary.iterdir()) == [path for path in before if path != held.path]


def test_a_folder_that_another_process_removed_before_it_was_locked_is_made_again(monkeypatch):
    locked, taken = private_folders._locked, []

    def lock(path):
        if len(taken) < 2:
            taken.append(path)
            remove_left()
        return locked(path)

    monkeypatch.setattr(private_folders, "_locked", lock)
    folder = PrivateFolder.make()
    assert folder.path.exists()
    assert folder.path not in taken
    assert not any(path.exists() for path in taken)
    folder.remove()


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("name", ["a b.db", "what?#100%25&.db", "größe-世界.db", os.fsdecode(b"\xff.db"), "-wal"])
async def test_a_file_of_any_name_is_read_and_nothing_is_left_beside_it(file, name, mode):
    file = file.with_name(name)
    fill(file, mode=mode).close()
    link = file.parent.parent / "link"
    link.symlink_to(file)
    for path in (file, link):
        with untouched(file.parent):
            async with copied(path) as copy, readable(path) as read:
                for each in (copy, read):
                    with closing(read_only(each)) as connection:
                        assert count(connection) == 10


async def test_a_file_that_an_application_has_open_is_read_in_place(file):
    with closing(fill(file, mode="WAL")):
        before = sorted(file.parent.iterdir())
        async with readable(file) as read:
            assert read == file
            with closing(read_only(read)) as connection:
                assert count(connection) == 10
        assert sorted(file.parent.iterdir()) == before


async def test_a_file_that_is_changed_all_the_time_is_copied_with_its_log(file, monkeypatch):
    writer = fill(file, mode="WAL")
    versions = sqlite_copy._versions

    def changing(source):
        writer.execute("INSERT INTO numbers VALUES (0)")
        writer.commit()
        return versions(source)

    monkeypatch.setattr(sqlite_copy, "_versions", changing)
    monkeypatch.setattr(sqlite_copy, "_PAGES", 1)
    async with copied(file) as copy:
        with closing(sqlite3.connect(copy)) as connection:
            assert count(connection) == count(writer)
    writer.close()


async def test_a_file_without_a_log_that_is_changed_all_the_time_is_an_error(file, temporary, monkeypatch):
    fill(file).close()
    versions = iter(range(1000))
    monkeypatch.setattr(
        sqlite_copy, "_versions", lambda _: {"": (next(versions), 0, 0), "-wal": None, "-journal": None}
    )
    with pytest.raises(SourceError, match="is being written to: stop the application"):
        async with copied(file):
            pass
    assert not list(temporary.iterdir())


async def test_a_pipe_is_an_error(file):
    os.mkfifo(file)
    with pytest.raises(SourceError, match="is not a file"):
        async with copied(file):
            pass


@pytest.mark.parametrize(("mode", "limit"), [("DELETE", 4096), ("WAL", 16384)])
async def test_a_full_disk_is_not_reported_as_damage(file, temporary, mode, limit):
    # The copy does not fit, or it fits and the shared memory of its log does not.
    fill(file, mode=mode).close()
    with file_size(limit), pytest.raises(SourceError, match=r"cannot be copied: .*; TMPDIR names the folder"):
        async with copied(file):
            pass
    assert not list(temporary.iterdir())


async def test_a_copy_ends_soon_when_it_is_cancelled_and_leaves_nothing(file, temporary, monkeypatch):
    fill(file).close()
    reads = asyncio.Event()
    loop = asyncio.get_running_loop()
    copy_file = sqlite_copy._copy_file

    def copying(source, copy, stop):
        loop.call_soon_threadsafe(reads.set)
        assert stop.wait(60)
        copy_file(source, copy, stop)

    monkeypatch.setattr(sqlite_copy, "_copy_file", copying)

    async def copy():
        async with copied(file):
            raise AssertionError("it was copied")

    task = asyncio.create_task(copy())
    await reads.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(temporary.iterdir())
