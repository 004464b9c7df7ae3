"""The store in a folder: hands its operations to threads that read and write.

Small objects are rows of a database, and all changes that wait are one transaction. Objects above a limit are files,
written and synced before a row names them. Any number of processes may have one folder open.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from holdfast_server.stores.base import (
    ObjectSummary,
    StoredObject,
    StoreError,
    StoreFullError,
    may_use_reserve,
    must_erase,
)
from holdfast_server.stores.file.backup import BackedUp, back_up
from holdfast_server.stores.file.checkpoints import Checkpoints
from holdfast_server.stores.file.database import connect, open_database
from holdfast_server.stores.file.errors import mapped
from holdfast_server.stores.file.folder import Access, StoreFolder
from holdfast_server.stores.file.lane import Lane
from holdfast_server.stores.file.reader import Reader
from holdfast_server.stores.file.reserve import Reserve
from holdfast_server.stores.file.upload import LARGEST_ROW_BYTES, Upload
from holdfast_server.stores.file.writer import Change, Kind, Writer

_Result = TypeVar("_Result")

_READ_THREADS = 2
_LARGE_READ_THREADS = 8
_FILE_THREADS = 16
# Reads above these would hold up the small ones after them.
_LARGE_READ_BYTES = 256 << 10
_LONG_LISTING = 16
_USER_ONLY = Access()


class FileStore:
    """Keeps objects in a folder, which it makes if it is missing. Made by `open`."""

    def __init__(self, folder: StoreFolder, connection: sqlite3.Connection) -> None:
        self._folder = folder
        self._connections: list[sqlite3.Connection] = []
        self._free_readers: list[Reader] = []
        self._reserve = Reserve(folder)
        self._checkpoints = Checkpoints(folder)
        # Guards the opening of the database, and the writer.
        self._opening = threading.Lock()
        self._writer: Writer | None = self._new_writer(connection)
        self._writes: Lane[Change, bool] = Lane(self._write_all, name="holdfast-writes")
        self._reads: Lane[Callable[[Reader], Any], Any] = Lane(
            self._read_all, name="holdfast-reads", threads=_READ_THREADS
        )
        self._large_reads: Lane[Callable[[Reader], Any], Any] = Lane(
            self._read_all, name="holdfast-large-reads", threads=_LARGE_READ_THREADS, largest_batch=1
        )
        self._files: Lane[Callable[[], Any], Any] = Lane(
            _call_all, name="holdfast-files", threads=_FILE_THREADS, largest_batch=1
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, root: Path, *, access: Access = _USER_ONLY) -> AsyncIterator["FileStore"]:
        """Open a store, with its threads.

        Args:
            root: the folder.
            access: who may use the files of a new store. An existing one keeps its own.

        Raises:
            StoreError: it cannot be used.

        """
        folder = await asyncio.to_thread(StoreFolder, root, access)
        try:
            store = cls(folder, await asyncio.to_thread(open_database, folder))
            try:
                yield store
            finally:
                await store._close()
        finally:
            folder.close()

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        return await self._put(Kind.CREATE, key, data)

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        is_large = length is not None and length > _LARGE_READ_BYTES
        lane = self._large_reads if is_large else self._reads
        found: StoredObject = await lane.run(lambda reader: reader.read(key, offset, length))
        return found

    @asynccontextmanager
    async def put(self, key: str) -> AsyncIterator[Upload]:
        """Write an object under a fresh key."""
        await self._keep_reserve()
        upload = Upload(self._folder, self._files, self._writes, key)
        try:
            yield upload
        finally:
            await upload.close()

    async def replace(self, key: str, data: bytes) -> None:
        """Replace an object."""
        await self._put(Kind.REPLACE, key, data)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """List objects in key order."""
        lane = self._large_reads if limit > _LONG_LISTING else self._reads
        found: Sequence[ObjectSummary] = await lane.run(lambda reader: reader.list(prefix, start_after, limit))
        return found

    async def copy(self, source: str, target: str) -> bool:
        """Nothing: a copy of a file takes as long as writing it."""
        return False

    async def delete(self, key: str) -> None:
        """Delete an object."""
        await self._change(Change(Kind.DELETE, key, erases=must_erase()))

    async def sweep_files(self, grace_seconds: float) -> int:
        """Remove the files of uploads that were cut off."""
        before_seconds = time.time() - grace_seconds
        removed: int = await self._large_reads.run(lambda reader: reader.sweep_files(before_seconds))
        return removed

    async def back_up(self, target: Path) -> BackedUp:
        """Copy the store into a folder while it is used.

        Args:
            target: a folder that is empty, does not exist, or has a backup that was cut off; outside of the store.

        Raises:
            TargetError: the target has something else in it, is in the store, or another backup is writing it.
            StoreError: the store cannot be read, or the target cannot be written.

        """
        return await asyncio.to_thread(lambda: back_up(self._connect(), self._folder, target))

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Close every connection and stop every thread while the block runs, so that the process can fork.

        SQLite keeps the locks that a process holds in its memory. A child with an open connection would believe that it
        holds those of its parent, and its parent could remove the log under it. The next operation connects again.
        """
        with ExitStack() as stack:
            for lane in (self._writes, self._reads, self._large_reads, self._files):
                stack.enter_context(lane.paused())
            stack.enter_context(self._checkpoints.paused())
            self._disconnect()
            yield

    async def _put(self, kind: Kind, key: str, data: bytes) -> bool:
        if kind is Kind.CREATE:
            await self._keep_reserve()
        if len(data) <= LARGEST_ROW_BYTES:
            return await self._change(Change(kind, key, data, erases=must_erase()))
        upload = Upload(self._folder, self._files, self._writes, key)
        try:
            await upload.write(data)
            return await upload.publish(kind)
        finally:
            await upload.close()

    async def _change(self, change: Change) -> bool:
        """Make a change, and once more with the reserve if the disk is full and the caller frees space."""
        try:
            return await self._writes.run(change)
        except StoreFullError:
            if not may_use_reserve():
                raise
        await self._files.run(self._give_up_reserve)
        return await self._writes.run(change)

    async def _keep_reserve(self) -> None:
        """Refuse what takes space while the space for deletions cannot be reserved."""
        if self._reserve.is_due and not may_use_reserve():
            await self._files.run(self._make_reserve)

    def _make_reserve(self) -> None:
        with mapped(self._folder.path):
            self._reserve.keep()

    def _give_up_reserve(self) -> None:
        with mapped(self._folder.path):
            self._reserve.give_up()

    def _write_all(self, changes: Sequence[Change]) -> Sequence[bool | StoreError]:
        try:
            writer = self._connected()
        except StoreError as error:
            return [error] * len(changes)
        return writer.apply(changes)

    def _read_all(self, reads: Sequence[Callable[[Reader], _Result]]) -> Sequence[_Result | StoreError]:
        try:
            self._folder.require_in_place()
            self._connected()
            reader = self._free_readers.pop() if self._free_readers else self._new_reader()
        except StoreError as error:
            return [error] * len(reads)
        results: list[_Result | StoreError] = []
        for read in reads:
            try:
                results.append(read(reader))
            except StoreError as error:
                results.append(error)
        self._free_readers.append(reader)
        return results

    def _connected(self) -> Writer:
        """Return the writer. Open the database again if the store was suspended."""
        with self._opening:
            if self._writer is None:
                self._writer = self._new_writer(open_database(self._folder))
            return self._writer

    def _new_writer(self, connection: sqlite3.Connection) -> Writer:
        self._connections.append(connection)
        self._checkpoints.use(self._connect())
        return Writer(self._folder, connection, self._checkpoints)

    def _new_reader(self) -> Reader:
        return Reader(self._folder, self._connect())

    def _connect(self) -> sqlite3.Connection:
        with mapped(self._folder.database):
            connection = connect(self._folder)
        # Kept here as well, so that none is closed before the store is.
        self._connections.append(connection)
        return connection

    async def _close(self) -> None:
        for lane in (self._files, self._writes, self._reads, self._large_reads):
            await lane.close()
        await asyncio.to_thread(self._close_connections)

    def _close_connections(self) -> None:
        self._checkpoints.close()
        self._disconnect()

    def _disconnect(self) -> None:
        self._writer = None
        self._free_readers.clear()
        while self._connections:
            self._connections.pop().close()


def _call_all(calls: Sequence[Callable[[], Any]]) -> Sequence[Any]:
    return [call() for call in calls]
