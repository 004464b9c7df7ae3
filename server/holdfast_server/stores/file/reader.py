"""Reads of a folder store: objects and listings."""

import sqlite3
from collections.abc import Sequence

from holdfast_server.stores.base import ObjectNotFoundError, ObjectSummary, StoreDamagedError, StoredObject
from holdfast_server.stores.file import blobs
from holdfast_server.stores.file.errors import mapped
from holdfast_server.stores.file.folder import BLOBS, StoreFolder

_READ = "SELECT size, file, value FROM objects LEFT JOIN contents ON id = content WHERE key = ?"
_FIND = "SELECT size, file FROM objects WHERE key = ?"
_FIND_FILE = "SELECT 1 FROM objects WHERE file = ?"
_LIST = "SELECT key, size, modified FROM objects WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
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
        size, file, value = row
        if file is not None:
            return self._read_file(key, offset, length, size, file)
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
        with mapped(self._folder.database):
            rows = self._connection.execute(_LIST, (first, prefix + _AFTER_ALL, limit)).fetchall()
        return [ObjectSummary(*row) for row in rows]

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
            StoreError: the store cannot be used, or is damaged.

        """
        with mapped(self._folder.path):
            return blobs.sweep(self._folder, self.is_file, before_seconds)

    def _read_file(self, key: str, offset: int, length: int | None, size: int, file: str) -> StoredObject:
        wanted = max(0, size - offset) if length is None else length
        with mapped(f"{self._folder.path}/{BLOBS}/{file}"):
            try:
                return StoredObject(blobs.read(self._folder, file, offset, wanted), size)
            except FileNotFoundError:
                row = self._connection.execute(_FIND, (key,)).fetchone()
        # Without its file: deleted or replaced since the row was read, or damaged.
        if row is None:
            raise ObjectNotFoundError(key)
        if row[1] == file:
            raise _damaged(key, f"has no file {file}")
        return self.read(key, offset, length)


def _damaged(key: str, problem: str) -> StoreDamagedError:
    return StoreDamagedError("an object of the store is damaged", detail=f"{key} {problem}")
