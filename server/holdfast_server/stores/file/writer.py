"""Writes to a folder store: all changes that wait are one transaction.

The bytes of a large object are in a file before its change arrives here. A change is answered when the transaction that
contains it is durable.
"""

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from holdfast_server.stores.base import StoreDamagedError, StoreError, StoreUnavailableError
from holdfast_server.stores.file import blobs
from holdfast_server.stores.file.blobs import BlobFile
from holdfast_server.stores.file.checkpoints import Checkpoints
from holdfast_server.stores.file.contents import Contents
from holdfast_server.stores.file.database import begin
from holdfast_server.stores.file.errors import mapped
from holdfast_server.stores.file.folder import StoreFolder

_FIND = "SELECT content, rest, file FROM objects WHERE key = ?"
_INSERT_OBJECTS = "INSERT INTO objects (key, size, modified, content, rest, file) VALUES "
_UNLESS_TAKEN = " ON CONFLICT (key) DO NOTHING"
_OBJECT = "(?, ?, ?, ?, ?, ?)"
# About what a small change adds to the write-ahead log.
_PAGES_BYTES = 12 << 10


class Kind(Enum):
    """What a change does."""

    CREATE = 1
    REPLACE = 2
    DELETE = 3


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one object.

    Attributes:
        kind: what it does.
        key: the object.
        content: its bytes, or their file.
        erases: whether the deleted bytes must be gone from every file when the change is answered.

    """

    kind: Kind
    key: str
    content: bytes | BlobFile = b""
    erases: bool = False


class Writer:
    """Writes with one connection, for one thread at a time.

    Args:
        folder: the folder of the store.
        connection: a connection to its database, which the writer does not close.
        checkpoints: checkpoints the database.

    """

    def __init__(self, folder: StoreFolder, connection: sqlite3.Connection, checkpoints: Checkpoints) -> None:
        self._folder = folder
        self._connection = connection
        self._checkpoints = checkpoints
        self._contents = Contents(connection)

    def apply(self, changes: Sequence[Change]) -> Sequence[bool | StoreError]:
        """Apply changes durably.

        Returns:
            For each change whether it took effect, which only a creation may not; or why it failed.

        """
        erasing = [change for change in changes if change.erases]
        if 0 < len(erasing) < len(changes):
            # The others must not fail if erasing does.
            others = [change for change in changes if not change.erases]
            done, erased = iter(self.apply(others)), iter(self.apply(erasing))
            return [next(erased if change.erases else done) for change in changes]
        try:
            return self._apply(changes, erases=bool(erasing))
        except StoreDamagedError as error:
            # The damage is where one of them belongs. The others are elsewhere.
            if len(changes) > 1:
                return [result for change in changes for result in self.apply([change])]
            return [error]
        except StoreError as error:
            return [error] * len(changes)

    def _apply(self, changes: Sequence[Change], *, erases: bool) -> Sequence[bool]:
        self._folder.require_in_place()
        if erases:
            self._checkpoints.prepare_erasing()
        else:
            self._checkpoints.prepare()
        try:
            results, removed = self._commit(changes)
        except BaseException:
            self._checkpoints.abandon()
            raise
        if erases:
            self._checkpoints.erase()
        else:
            self._checkpoints.committed(sum(map(_logged_bytes, changes)))
        with mapped(self._folder.path, may_be_written=True):
            blobs.remove(self._folder, removed)
        try:
            self._folder.require_in_place()
        except StoreError as error:
            # The changes are in a store that nobody will find again.
            raise StoreUnavailableError(str(error), detail=error.detail) from error
        return results

    def _commit(self, changes: Sequence[Change]) -> tuple[Sequence[bool], list[str]]:
        """Return the results, and the files that the database no longer names."""
        if _are_new_rows(changes):
            with mapped(self._folder.database):
                begin(self._connection)
            if self._created_all(changes):
                self._end()
                return [True] * len(changes), []
            self._roll_back()
        removed: list[str] = []
        with mapped(self._folder.database):
            begin(self._connection)
        try:
            with mapped(self._folder.database):
                results = [self._change(change, removed) for change in changes]
        except StoreError:
            self._roll_back()
            raise
        self._end()
        return results, removed

    def _created_all(self, changes: Sequence[Change]) -> bool:
        """Create objects by two statements. Return False if one of the keys has an object."""
        count = len(changes)
        now = time.time()
        values = [change.content for change in changes if isinstance(change.content, bytes)]
        try:
            with mapped(self._folder.database):
                rows = [
                    field
                    for change, ids in zip(changes, self._contents.insert(values), strict=True)
                    for field in (change.key, _size(change), now, *ids, None)
                ]
                statement = _INSERT_OBJECTS + ", ".join([_OBJECT] * count) + _UNLESS_TAKEN
                return self._connection.execute(statement, rows).rowcount == count
        except StoreError:
            self._roll_back()
            raise

    def _change(self, change: Change, removed: list[str]) -> bool:
        found = self._connection.execute(_FIND, (change.key,)).fetchone()
        if found is not None:
            if change.kind is Kind.CREATE:
                return False
            content, rest, file = found
            if content is not None:
                self._contents.delete((content, rest))
            # A damaged row may have any value there, which is no file to remove.
            if blobs.is_name(file):
                removed.append(file)
            self._connection.execute("DELETE FROM objects WHERE key = ?", (change.key,))
        if change.kind is not Kind.DELETE:
            self._insert(change)
        return True

    def _insert(self, change: Change) -> None:
        content, rest, file = None, None, None
        if isinstance(change.content, BlobFile):
            file = change.content.name
        else:
            [(content, rest)] = self._contents.insert([change.content])
        row = (change.key, _size(change), time.time(), content, rest, file)
        self._connection.execute(_INSERT_OBJECTS + _OBJECT, row)

    def _end(self) -> None:
        try:
            with mapped(self._folder.database, may_be_written=True):
                self._connection.execute("COMMIT")
        except StoreError:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        self._contents.forget()
        # Some errors have ended the transaction.
        if self._connection.in_transaction:
            with mapped(self._folder.database, may_be_written=True):
                self._connection.execute("ROLLBACK")


def _are_new_rows(changes: Sequence[Change]) -> bool:
    """Return whether all changes create small objects, each with a key of its own."""
    return all(change.kind is Kind.CREATE and not isinstance(change.content, BlobFile) for change in changes) and len(
        {change.key for change in changes}
    ) == len(changes)


def _size(change: Change) -> int:
    return change.content.size_bytes if isinstance(change.content, BlobFile) else len(change.content)


def _logged_bytes(change: Change) -> int:
    return _PAGES_BYTES + (0 if isinstance(change.content, BlobFile) else len(change.content))
