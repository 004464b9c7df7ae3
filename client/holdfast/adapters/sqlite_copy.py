"""Private copies of SQLite files: an engine's own class opens the copy, and the original stays as it is.

Engines create tables and set the journal mode when they open a file, and SQLite itself writes beside a file in WAL mode
even if it is opened read-only. So the file is copied with its write-ahead log or journal, and SQLite recovers the copy.
"""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from holdfast.moving import SourceError

_MAGIC = b"SQLite format 3\x00"
# What SQLite keeps beside a file. The shared memory of a write-ahead log is made again from the log.
_SUFFIXES = ("", "-wal", "-journal")
_ATTEMPTS = 5


@asynccontextmanager
async def copied(path: str | os.PathLike[str]) -> AsyncIterator[Path]:
    """Copy a SQLite file with what was committed to it, and remove the copy at the end of the block.

    The copy is in the folder for temporary files (`TMPDIR`), readable by its owner only, and takes as much space as the
    file.

    Args:
        path: the file.

    Raises:
        SourceError: the file does not exist, is not a SQLite file, is damaged, or is being written to.

    """
    with TemporaryDirectory(prefix="holdfast-import-") as folder:
        yield await asyncio.to_thread(_copied, os.fspath(path), Path(folder))


def columns(copy: Path, table: str) -> frozenset[str]:
    """Return the names of a table's columns; none if the table does not exist."""
    with closing(sqlite3.connect(copy)) as connection:
        rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
    return frozenset(name for (name,) in rows)


def tables(copy: Path) -> frozenset[str]:
    """Return the names of the tables."""
    with closing(sqlite3.connect(copy)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return frozenset(name for (name,) in rows)


def require_table(copy: Path, shown: str, table: str, needed: frozenset[str], engine: str) -> None:
    """Check that a copy has a table with the columns that an engine reads.

    Args:
        copy: the copy.
        shown: the original's name in errors.
        table: the table.
        needed: the columns.
        engine: the engine's name in errors.

    Raises:
        SourceError: it has no such table, or a column is missing.

    """
    found = columns(copy, table)
    if not found:
        raise SourceError(
            f"{shown} has no table {table!r}: it is not a file of {engine}, or the table has another name"
        )
    if missing := sorted(needed - found):
        raise SourceError(f"table {table!r} of {shown} has no column {missing[0]!r}: it is not a table of {engine}")


def _copied(shown: str, folder: Path) -> Path:
    source = Path(os.path.realpath(shown))
    _require_sqlite(source, shown)
    copy = folder / source.name
    try:
        _copy_whole(source, copy, shown)
    except OSError as error:
        raise SourceError(f"{shown} cannot be copied: {error}") from error
    _check(copy, shown)
    return copy


def _require_sqlite(source: Path, shown: str) -> None:
    try:
        with source.open("rb") as file:
            begin = file.read(len(_MAGIC))
    except OSError as error:
        raise SourceError(f"{shown} cannot be read: {error.strerror or error}") from error
    if begin != _MAGIC:
        raise SourceError(f"{shown} is not a SQLite file: it begins with {begin!r}, expected {_MAGIC!r}")


def _copy_whole(source: Path, copy: Path, shown: str) -> None:
    """Copy a file and what SQLite keeps beside it, again if one of them was changed during the copy.

    Raises:
        SourceError: they are changed all the time.
        OSError: a file cannot be read or written.

    """
    for _ in range(_ATTEMPTS):
        before = _versions(source)
        for suffix in _SUFFIXES:
            to = copy.with_name(copy.name + suffix)
            to.unlink(missing_ok=True)
            if before[suffix] is not None:
                try:
                    shutil.copyfile(source.with_name(source.name + suffix), to)
                except FileNotFoundError:
                    break
        if _versions(source) == before:
            return
    raise SourceError(f"{shown} is being written to: stop the application, then import again")


def _versions(source: Path) -> dict[str, tuple[int, int, int] | None]:
    found: dict[str, tuple[int, int, int] | None] = {}
    for suffix in _SUFFIXES:
        try:
            stat = source.with_name(source.name + suffix).stat()
        except FileNotFoundError:
            found[suffix] = None
        else:
            found[suffix] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return found


def _check(copy: Path, shown: str) -> None:
    """Recover a copy, and check that it is whole.

    Raises:
        SourceError: it is damaged.

    """
    try:
        with closing(sqlite3.connect(copy)) as connection:
            [finding] = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        finding = str(error)
    if finding != "ok":
        raise SourceError(
            f"{shown} is damaged: {finding}. Recover it with the command .recover of the sqlite3 program."
        )
