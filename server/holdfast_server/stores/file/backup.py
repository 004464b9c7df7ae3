"""Copies a folder store while it is used: the database by SQLite's own means, then the files that it names.

The copy has no database under its final name before everything else is there and durable, so that one which was cut
off is never taken for a store. A file may be removed between both steps, since its object was erased or collected; then
the database is copied again.
"""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast_server.stores.base import StoreUnavailableError
from holdfast_server.stores.file import blobs
from holdfast_server.stores.file.errors import mapped
from holdfast_server.stores.file.folder import BLOBS, DATABASE, StoreFolder

_ATTEMPTS = 10
_UNFINISHED = f"{DATABASE}.unfinished"
_OF_SQLITE = ("-journal", "-wal", "-shm")
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup contains: objects, and the files of large ones with their bytes."""

    objects: int
    files: int
    file_bytes: int


class TargetError(Exception):
    """A folder cannot be the target of a backup. The message says why."""


def back_up(connection: sqlite3.Connection, folder: StoreFolder, target: Path) -> BackedUp:
    """Copy a store into a folder.

    Args:
        connection: a connection to the database of the store.
        folder: the store.
        target: a folder that is empty, does not exist, or has a backup that was cut off; outside of the store.

    Raises:
        TargetError: the target has something else in it, is in the store, or another backup is writing it.
        StoreError: the store cannot be read, or the target cannot be written.

    """
    with mapped(str(target)):
        if Path(folder.path) in (target.resolve(), *target.resolve().parents):
            raise TargetError("it is in the store")
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(target):
        with mapped(str(target)):
            _remove_unfinished(target)
            if any(target.iterdir()):
                raise TargetError("it is not empty")
        try:
            return _copy(connection, folder, target)
        except BaseException:
            # The error of the copy is the one to report.
            with suppress(OSError):
                _remove_unfinished(target)
            raise


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keep other backups out of a folder.

    Raises:
        TargetError: one is writing it.

    """
    with mapped(str(target)):
        descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # A network file system may have no locks of folders.
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TargetError("another backup is writing it") from None
        yield
    finally:
        os.close(descriptor)


def _remove_unfinished(target: Path) -> None:
    """Remove a backup that was cut off, if the target has nothing else."""
    unfinished = {_UNFINISHED, *(f"{_UNFINISHED}{suffix}" for suffix in _OF_SQLITE)}
    found = {each.name for each in target.iterdir()}
    if _UNFINISHED not in found or found - unfinished - {BLOBS}:
        return
    copies = list((target / BLOBS).iterdir()) if BLOBS in found else []
    if not all(blobs.is_name(each.name) for each in copies):
        return
    for each in copies:
        each.unlink()
    with suppress(FileNotFoundError):
        (target / BLOBS).rmdir()
    # The one by which a backup is known comes last.
    for name in sorted(found & unfinished, reverse=True):
        (target / name).unlink()


def _copy(connection: sqlite3.Connection, folder: StoreFolder, target: Path) -> BackedUp:
    with mapped(str(target)):
        os.close(os.open(target / _UNFINISHED, _WRITE, 0o600))
        (target / BLOBS).mkdir(mode=0o700)
    copied: dict[str, int] = {}
    for _ in range(_ATTEMPTS):
        objects, names = _copy_database(connection, folder, target / _UNFINISHED)
        with mapped(str(target)):
            missing = [name for name in names if name not in copied and not _copy_file(folder, name, target, copied)]
            if not missing:
                _finish(target, set(copied) - names)
                return BackedUp(objects, len(names), sum(copied[name] for name in names))
    raise StoreUnavailableError(
        f"files of the store are removed faster than they are copied, {len(missing)} of them each time",
        detail=folder.database,
    )


def _copy_database(connection: sqlite3.Connection, folder: StoreFolder, path: Path) -> tuple[int, set[str]]:
    """Copy the database. Return how many objects it has, and the names of their files."""
    # SQLite does not say which of both failed.
    with mapped(f"{folder.database} to {path}"), closing(sqlite3.connect(path, isolation_level=None)) as copy:
        # In one step: it would begin again with each commit of another process.
        connection.backup(copy)
        [objects] = copy.execute("SELECT count(*) FROM objects").fetchone()
        names = {name for (name,) in copy.execute("SELECT file FROM objects WHERE file IS NOT NULL")}
        # Everything into the one file that gets the final name.
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return objects, {name for name in names if blobs.is_name(name)}


def _copy_file(folder: StoreFolder, name: str, target: Path, copied: dict[str, int]) -> bool:
    """Copy a file, durably. Return whether it was there."""
    try:
        source = os.open(name, _READ, dir_fd=folder.blobs)
    except FileNotFoundError:
        return False
    with open(source, "rb") as read, open(os.open(target / BLOBS / name, _WRITE, 0o600), "wb") as written:
        shutil.copyfileobj(read, written, 1 << 20)
        written.flush()
        os.fsync(written.fileno())
        copied[name] = written.tell()
    return True


def _finish(target: Path, unneeded: set[str]) -> None:
    for name in unneeded:
        with suppress(FileNotFoundError):
            (target / BLOBS / name).unlink()
    _sync(target / BLOBS)
    _sync(target / _UNFINISHED)
    (target / _UNFINISHED).rename(target / DATABASE)
    _sync(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
