"""Private copies of SQLite files: an engine's own class opens the copy, and the original stays as it is.

Engines create tables and set the journal mode when they open a file, and SQLite itself writes beside a file in WAL mode
even if it is opened read-only. So the file is copied with its write-ahead log or journal, and SQLite recovers the copy.
"""

import os
import sqlite3
import stat
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from holdfast.adapters.private_folders import PrivateFolder, remove_left
from holdfast.adapters.threaded import in_thread_to_end
from holdfast.moving import SourceError

_MAGIC = b"SQLite format 3\x00"
_BEGIN_BYTES = 20
# What SQLite keeps beside a file. The shared memory of a write-ahead log is made again from the log.
_SUFFIXES = ("", "-wal", "-journal")
# The names of the copies. The name of the file may have characters that a URL of an engine does not.
_NAME = "copy.db"
_ATTEMPTS = 5
# File systems may give two changes within this time the same time of change.
_SECONDS_BETWEEN_CHANGES = 0.02
_CHUNK_BYTES = 1 << 20
_PAGES = 1000
_STEPS_BETWEEN_CHECKS = 100_000
# Errors of SQLite that say something about the disk with the copy, not about the file.
_OF_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM)


@asynccontextmanager
async def copied(path: str | os.PathLike[str]) -> AsyncIterator[Path]:
    """Copy a SQLite file with what was committed to it, and remove the copy at the end of the block.

    The copy is in the folder for temporary files (`TMPDIR`), readable by its owner only, and takes as much space as the
    file. Copies of processes that were killed are removed.

    Args:
        path: the file.

    Raises:
        SourceError: the file does not exist, is not a SQLite file, is damaged, or is being written to; or the folder
            for temporary files is full.

    """
    shown, stop = os.fspath(path), threading.Event()
    await in_thread_to_end(remove_left)
    try:
        folder = PrivateFolder.make()
    except OSError as error:
        raise SourceError(f"{shown} cannot be copied: {error}") from error
    try:
        yield await in_thread_to_end(partial(_copied, shown, folder.path / _NAME, stop), stop.set)
    finally:
        await in_thread_to_end(folder.remove)


@asynccontextmanager
async def readable(path: str | os.PathLike[str]) -> AsyncIterator[Path]:
    """Return a file to open read-only: a SQLite file itself, or a copy of it if reading it would write beside it.

    Args:
        path: the file.

    Raises:
        SourceError: as for `copied`.

    """
    if await in_thread_to_end(partial(_is_readable_in_place, os.fspath(path))):
        yield Path(path)
        return
    async with copied(path) as copy:
        yield copy


def read_only(file: str | os.PathLike[str]) -> sqlite3.Connection:
    """Return a connection that only reads, for any thread. It returns text that is not UTF-8 with lone surrogates."""
    name = f"file:{quote(os.fsencode(os.path.abspath(file)))}?mode=ro"
    connection = sqlite3.connect(name, uri=True, check_same_thread=False)
    connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    return connection


def listed(copy: Path, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement that lists items. Text that is not UTF-8 has lone surrogates.

    So an item whose name cannot be read is still an item, and fails alone.

    Raises:
        sqlite3.Error: the tables cannot be read.

    """
    with closing(read_only(copy)) as connection:
        return connection.execute(statement).fetchall()


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


class _StoppedError(Exception):
    """The caller was cancelled."""


def _copied(shown: str, copy: Path, stop: threading.Event) -> Path:
    source = Path(os.path.realpath(shown))
    _begin(source, shown)
    with _reported(shown):
        if not _copy_whole(source, copy, stop):
            _back_up(source, copy, shown, stop)
        _check(copy, shown, stop)
    return copy


@contextmanager
def _reported(shown: str) -> Iterator[None]:
    """Report a disk that is full or broken as an error of the source."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise SourceError(f"{shown} cannot be copied: {error}; TMPDIR names the folder for temporary files") from error


def _begin(source: Path, shown: str) -> bytes:
    """Return the first bytes of a SQLite file.

    Raises:
        SourceError: it cannot be read, or is something else.

    """
    try:
        mode = source.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            # A pipe would be waited for.
            raise SourceError(f"{shown} is not a file")
        with source.open("rb") as file:
            begin = file.read(_BEGIN_BYTES)
    except OSError as error:
        raise SourceError(f"{shown} cannot be read: {error.strerror or error}") from error
    if not begin.startswith(_MAGIC):
        raise SourceError(f"{shown} is not a SQLite file: it begins with {begin[:16]!r}, expected {_MAGIC!r}")
    return begin


def _is_readable_in_place(shown: str) -> bool:
    """Return whether SQLite can read a file without writing beside it."""
    source = Path(os.path.realpath(shown))
    # The version of the format is 2 if there is a write-ahead log, which exists while a program has the file open.
    has_log = _begin(source, shown)[19:] == b"\x02"
    if has_log and not all(os.path.exists(_beside(source, suffix)) for suffix in ("-wal", "-shm")):
        return False
    try:
        with closing(read_only(source)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master").fetchall()
    except sqlite3.OperationalError:
        return False
    except sqlite3.DatabaseError as error:
        raise SourceError(f"{shown} is damaged: {error}") from error
    return True


def _beside(source: Path, suffix: str) -> Path:
    return source.with_name(source.name + suffix)


def _copy_whole(source: Path, copy: Path, stop: threading.Event) -> bool:
    """Copy a file and what SQLite keeps beside it, again if one of them was changed during the copy.

    Returns:
        Whether they were copied: False if they are changed all the time.

    Raises:
        OSError: a file cannot be read or written.

    """
    for _ in range(_ATTEMPTS):
        before = _versions(source)
        if any(
            0 <= time.time() - version[2] / 1e9 < _SECONDS_BETWEEN_CHANGES for version in before.values() if version
        ):
            time.sleep(_SECONDS_BETWEEN_CHANGES)
            before = _versions(source)
        with suppress(FileNotFoundError):
            for suffix in _SUFFIXES:
                _beside(copy, suffix).unlink(missing_ok=True)
                if before[suffix] is not None:
                    _copy_file(_beside(source, suffix), _beside(copy, suffix), stop)
        if _versions(source) == before:
            return True
    return False


def _copy_file(source: Path, copy: Path, stop: threading.Event) -> None:
    with source.open("rb") as reading, copy.open("wb") as writing:
        while chunk := reading.read(_CHUNK_BYTES):
            if stop.is_set():
                raise _StoppedError
            writing.write(chunk)


def _versions(source: Path) -> dict[str, tuple[int, int, int] | None]:
    found: dict[str, tuple[int, int, int] | None] = {}
    for suffix in _SUFFIXES:
        try:
            version = _beside(source, suffix).stat()
        except FileNotFoundError:
            found[suffix] = None
        else:
            found[suffix] = (version.st_ino, version.st_size, version.st_mtime_ns)
    return found


def _back_up(source: Path, copy: Path, shown: str, stop: threading.Event) -> None:
    """Copy a file that is being written to by SQLite's own means.

    Only one with a write-ahead log: reading any other one for long keeps the application from writing.

    Raises:
        SourceError: it has no write-ahead log.
        sqlite3.Error: it cannot be copied.

    """
    if not _beside(source, "-shm").exists():
        raise SourceError(f"{shown} is being written to: stop the application, then import again")
    for suffix in _SUFFIXES:
        _beside(copy, suffix).unlink(missing_ok=True)

    def go_on(*_: int) -> None:
        if stop.is_set():
            raise _StoppedError

    with closing(read_only(source)) as reading, closing(sqlite3.connect(copy)) as writing:
        # All steps of the backup read what was committed until here.
        reading.execute("BEGIN")
        reading.execute("SELECT 1 FROM sqlite_master").fetchall()
        reading.backup(writing, pages=_PAGES, progress=go_on)


def _check(copy: Path, shown: str, stop: threading.Event) -> None:
    """Recover a copy, and check that it is whole.

    Raises:
        SourceError: it is damaged.
        sqlite3.Error: it cannot be read or recovered for another reason.

    """
    try:
        with closing(sqlite3.connect(copy)) as connection:
            connection.set_progress_handler(stop.is_set, _STEPS_BETWEEN_CHECKS)
            [finding] = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_DISK:
            raise
        finding = str(error)
    if finding != "ok":
        raise SourceError(
            f"{shown} is damaged: {finding}. Recover it with the command .recover of the sqlite3 program."
        )
