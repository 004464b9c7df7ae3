"""Copies a folder store while it is used: the database by SQLite's own means, then the files that it names.

The copy has no database under its final name before everything else is there and durable, so that one which was cut
off is never taken for a store. A file may be removed between both steps, since its object was erased or collected; then
the database is copied again.
"""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast_server.stores.base import StoreUnavailableError
from holdfast_server.stores.file import blobs
from holdfast_server.stores.file.errors import mapped
from holdfast_server.stores.file.folder import BLOBS, DATABASE, StoreFolder

_ATTEMPTS = 10
_UNFINISHED = f"{DATABASE}.unfinished"
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup contains: objects, and the files of large ones with their bytes."""

    objects: int
    files: int
    file_bytes: int


def back_up(connection: sqlite3.Connection, folder: StoreFolder, target: Path) -> BackedUp:
    """Copy a store into a folder.

    Args:
        connection: a connection to the database of the store.
        folder: the store.
        target: a folder that is empty or does not exist.

    Raises:
        FileExistsError: the target has something in it.
        StoreError: the store cannot be read, or the target cannot be written.

    """
    with mapped(str(target)):
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_empty = not any(target.iterdir())
    if not is_empty:
        raise FileExistsError(str(target))
    with mapped(str(target)):
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
    with mapped(folder.database), closing(sqlite3.connect(path, isolation_level=None)) as copy:
        # In one step: it would begin again with each commit of another process.
        connection.backup(copy)
        [objects] = copy.execute("SELECT count(*) FROM objects").fetchone()
        names = {name for (name,) in copy.execute("SELECT file FROM objects WHERE file IS NOT NULL")}
        # Everything into the one file that gets the final name.
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    path.chmod(0o600)
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
