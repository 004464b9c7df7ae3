"""Reads of a folder store: objects and listings."""

import sqlite3
from collections.abc import Iterator, Sequence

from holdfast_server.stores.base import ObjectNotFoundError, ObjectSummary, StoreDamagedError, StoredObject
from holdfast_server.stores.file import blobs
from holdfast_server.stores.file.errors import mapped
from holdfast_server.stores.file.folder import BLOBS, StoreFolder
from holdfast_server.stores.listing import impossible_field

_READ = (
    "SELECT size, file, head.value, tail.value FROM objects LEFT JOIN contents AS head ON head.id = content "
    "LEFT JOIN contents AS tail ON tail.id = rest WHERE key = ?"
)
_FIND = "SELECT size, file FROM objects WHERE key = ?"
_FIND_FILE = "SELECT 1 FROM objects WHERE file = ?"
_LIST = "SELECT key, size, modified FROM objects WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
# Keys are ASCII. No two of them are equal up to here.
_LARGEST = 127
_COMPARED = 600
# Sorts after every character of a key.
_AFTER_ALL = "\U0010ffff"


class Reader:
    """Reads with one connection, for one thread at a time.

    Args:
        folder: the folder of the store.
        connection: a connection to its database, which the reader does not close.

    """

    def __init__(self, folder: StoreFolder, connection: sqlite3.Connection) -> None:
        self._folder = folder
        self._connection = connection

    def read(self, key: str, offset: int, length: int | None) -> StoredObject:
        """Return the bytes of an object from an offset, at most `length` if that is given.

        Raises:
            ObjectNotFoundError: no object has the key.
            StoreDamagedError: the object is damaged.
            StoreError: the store cannot be used.

        """
        with mapped(self._folder.database):
            row = self._connection.execute(_READ, (key,)).fetchone()
        if row is None:
            raise ObjectNotFoundError(key)
        size, file, value, rest = row
        if not isinstance(size, int) or size < 0 or (file is not None and not blobs.is_name(file)):
            raise _damaged(key, "has fields that no object has")
        if file is not None:
            return self._read_file(key, offset, length, size, file)
        if isinstance(value, bytes) and isinstance(rest, bytes):
            value += rest
        if not isinstance(value, bytes) or len(value) != size:
            raise _damaged(key, f"has {size} bytes, and its content is missing or different")
        end = None if length is None else offset + length
        return StoredObject(value[offset:end], size)

    def list(self, prefix: str, start_after: str, limit: int) -> Sequence[ObjectSummary]:
        """Return the first objects, in key order, whose keys begin with `prefix` and follow `start_after`.

        Raises:
            StoreError: the store cannot be used, or is damaged there.

        """
        # The smallest key after another one is that key and a zero.
        first = prefix if start_after < prefix else f"{start_after}\0"
        end = prefix + _AFTER_ALL
        found: list[ObjectSummary] = []
        try:
            with mapped(self._folder.database):
                found.extend(self._rows(first, end, limit))
        except StoreDamagedError as error:
            resume_at = self._first_after_damage(prefix, found[-1].key if found else first)
            raise StoreDamagedError(str(error), detail=error.detail, listed=found, resume_at=resume_at) from error
        return found

    def _rows(self, first: str, end: str, limit: int) -> Iterator[ObjectSummary]:
        """Yield the first objects, in key order, from one key on and before another.

        Raises:
            sqlite3.Error: the database cannot be read.
            StoreDamagedError: a row is damaged. One whose key is out of order would let a walk of pages begin again.

        """
        for row in self._connection.execute(_LIST, (first, end, limit)):
            summary = _summary(*row)
            if summary.key < first:
                raise StoreDamagedError("a row of the store's database is out of order", detail=f"key {row[0]!r:.200}")
            yield summary
            first = f"{summary.key}\0"

    def _first_after_damage(self, prefix: str, damaged: str) -> str | None:
        """Return the first key with a prefix that can be listed after one at which a listing fails; None for none.

        A seek to a damaged page fails, and one beyond it does not. The border is found by bisection.
        """
        low, high, found = _number(damaged), _number(prefix) + (1 << _bits_after(len(prefix))), None
        # Keys that differ only later than this do not exist.
        while high - low > 1 << _bits_after(len(found or damaged) + 1):
            middle = (low + high) // 2
            try:
                rows = self._rows(max(_text(middle), f"{damaged}\0"), prefix + _AFTER_ALL, 1)
                high, found = middle, next((row.key for row in rows), None)
            except (sqlite3.DatabaseError, StoreDamagedError):
                low = middle
        return found

    def is_file(self, name: str) -> bool:
        """Return whether an object has a file with this name.

        Raises:
            StoreError: the store cannot be used, or is damaged there.

        """
        with mapped(self._folder.database):
            return self._connection.execute(_FIND_FILE, (name,)).fetchone() is not None

    def sweep_files(self, before_seconds: float) -> int:
        """Remove the files that no object has and no upload writes, last written before a time since the epoch.

        Raises:
            StoreDamagedError: the database is damaged, so that an object may have one of the files all the same.
            StoreError: the store cannot be used.

        """
        is_whole = False

        def is_named(name: str) -> bool:
            nonlocal is_whole
            if self.is_file(name):
                return True
            # Few sweeps find a file to remove, and only those read the whole database.
            if not is_whole:
                self._require_whole()
                is_whole = True
            return False

        with mapped(self._folder.path):
            return blobs.sweep(self._folder, is_named, before_seconds)

    def _require_whole(self) -> None:
        with mapped(self._folder.database):
            [problem] = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if problem != "ok":
            detail = f"{self._folder.database}: {problem}"
            raise StoreDamagedError("files cannot be swept while the store's database is damaged", detail=detail)

    def _read_file(self, key: str, offset: int, length: int | None, size: int, file: str) -> StoredObject:
        wanted = max(0, size - offset) if length is None else length
        with mapped(f"{self._folder.path}/{BLOBS}/{file}"):
            try:
                data, file_bytes = blobs.read(self._folder, file, offset, wanted)
            except FileNotFoundError:
                row = self._connection.execute(_FIND, (key,)).fetchone()
            else:
                # Callers believe the size: they allocate, copy and count by it.
                if file_bytes != size:
                    raise _damaged(key, f"has {size} bytes, and its file {file} has {file_bytes}")
                return StoredObject(data, size)
        # Without its file: deleted or replaced since the row was read, or damaged.
        if row is None:
            raise ObjectNotFoundError(key)
        if row[1] == file:
            raise _damaged(key, f"has no file {file}")
        return self.read(key, offset, length)


def _number(key: str) -> int:
    """Return a key as a number. The order of keys is that of their numbers."""
    return int.from_bytes(key.encode("ascii", "replace")[:_COMPARED].ljust(_COMPARED, b"\0"))


def _bits_after(characters: int) -> int:
    return 8 * max(0, _COMPARED - characters)


def _text(number: int) -> str:
    data = number.to_bytes(_COMPARED)
    # Not every number is a key. From the first byte that no key has, all are as large as they can be.
    end = next((position for position, byte in enumerate(data) if byte > _LARGEST), _COMPARED)
    # A shorter key sorts before a longer one that begins with it.
    return (data[:end] + bytes([_LARGEST]) * (_COMPARED - end)).rstrip(b"\0").decode()


def _summary(key: object, size: object, modified: object) -> ObjectSummary:
    """Return a row of a listing. A damaged page may have rows with impossible fields."""
    impossible = impossible_field(size, modified)
    if not isinstance(key, str) or impossible:
        detail = f"key {key!r:.200}" + (f" has {impossible:.100}" if impossible else "")
        raise StoreDamagedError("a row of the store's database is damaged", detail=detail)
    assert isinstance(size, int)
    assert isinstance(modified, float)
    return ObjectSummary(key, size, modified)


def _damaged(key: str, problem: str) -> StoreDamagedError:
    return StoreDamagedError("an object of the store is damaged", detail=f"{key} {problem}")
