"""An object store in a folder, the embedded default.

An object is a file. It is written without a name, synced, and linked into place: the link fails where
the name is taken, which is put-if-absent. Then its folder is synced, so that an acknowledged object survives
a power cut; the folders above are durable before (`folders`). A failed sync fails the write and the file is
never used again: after such an error the kernel may have dropped the pages. What is read is made durable too, where
its maker has not come to that yet, or never will (`draft`).
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from holdfast_server.stores.base import (
    ObjectSummary,
    StoredObject,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    may_use_reserve,
)
from holdfast_server.stores.batches import Batches
from holdfast_server.stores.draft import TEMPORARY_FOLDER, Draft, Drafts
from holdfast_server.stores.file_errors import errors_mapped, of_failed_create
from holdfast_server.stores.folders import MARK, Folder, make_root
from holdfast_server.stores.lanes import Lane
from holdfast_server.stores.reserve import RESERVE_FILE, Reserve

_Result = TypeVar("_Result")

_THREADS = 32
# More would make the batches smaller, and each hand-over is dear.
_CREATE_LANES = 1
_READ_LANES = 2
# Reads above this would hold up the small ones behind them.
_LARGE_READ_BYTES = 256 << 10
# Sorts behind every character of a key.
_BEHIND_ALL = "\x7f"
_SPARE_ENTRIES = 1000


class FileStore:
    """Keeps objects below a folder, which it makes where it is missing. Made by `open`."""

    def __init__(self, root: Path, lanes: Sequence[Lane]) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="file-store")
        self._creates = Batches([partial(self._create_all, lane) for lane in lanes])
        self._reads = Batches([self._read_all] * _READ_LANES)
        self._reserve = Reserve(root)
        with errors_mapped():
            make_root(root)
            self._drafts = Drafts(root)

    @classmethod
    @asynccontextmanager
    async def open(cls, root: Path) -> AsyncIterator["FileStore"]:
        """Open a store, with its threads and processes.

        Args:
            root: the folder.

        Raises:
            StoreError: it cannot be used.

        """
        lanes = [Lane(root) for _ in range(_CREATE_LANES)]
        store = cls(root, lanes)
        try:
            for lane in lanes:
                await lane.start()
            yield store
        finally:
            await store._creates.close()
            await store._reads.close()
            for lane in lanes:
                await lane.close()
            store._threads.shutdown(wait=False)

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        if not may_use_reserve():
            await self._keep_reserve()
        try:
            return await self._creates.run((key, data))
        except StoreFullError:
            if not may_use_reserve():
                raise
        await self._run(self._reserve.give_up)
        return await self._creates.run((key, data))

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        if length is not None and length > _LARGE_READ_BYTES:
            return await self._run(self._read, key, offset, length)
        return await self._reads.run((key, offset, length))

    @asynccontextmanager
    async def put(self, key: str) -> AsyncIterator["_FileWriter"]:
        """Write an object under a fresh key."""
        if not may_use_reserve():
            await self._keep_reserve()
        writer = _FileWriter(self, key)
        try:
            yield writer
        finally:
            writer.discard()

    async def replace(self, key: str, data: bytes) -> None:
        """Put other bytes in the place of an object."""
        try:
            await self._run(self._replace, key, data)
        except StoreFullError:
            if not may_use_reserve():
                raise
            await self._run(self._reserve.give_up)
            await self._run(self._replace, key, data)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """List objects in key order."""
        return await self._run(self._list, prefix, start_after, limit)

    async def copy(self, source: str, target: str) -> bool:
        """Nothing: a second name of a file would share the mark that tells whether the first is durable."""
        return False

    async def delete(self, key: str) -> None:
        """Remove an object."""
        await self._run(self._unlink, key)

    async def _keep_reserve(self) -> None:
        """Refuse what takes space while the space for deletions cannot be kept back."""
        if not self._reserve.is_due:
            return
        try:
            await self._run(self._reserve.keep)
        except OSError as error:
            raise of_failed_create(error.errno or 0, str(self._root), may_exist=False) from error

    async def _run(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _create_all(self, lane: Lane, items: Sequence[tuple[str, bytes]]) -> Sequence[bool | Exception]:
        created = await lane.create_all(items)
        return [
            each if isinstance(each, bool) else of_failed_create(each[0], str(self._root), may_exist=each[1])
            for each in created
        ]

    async def _read_all(self, items: Sequence[tuple[str, int, int | None]]) -> Sequence[StoredObject | Exception]:
        return await self._run(self._read_each, items)

    def _read_each(self, items: Sequence[tuple[str, int, int | None]]) -> Sequence[StoredObject | Exception]:
        results: list[StoredObject | Exception] = []
        for item in items:
            try:
                results.append(self._read(*item))
            except StoreError as error:
                results.append(error)
        return results

    def _read(self, key: str, offset: int, length: int | None) -> StoredObject:
        path = self._root / key
        with errors_mapped(key):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                if status.st_mode & MARK:
                    self._drafts.confirm(key)
                wanted = max(0, status.st_size - offset) if length is None else length
                return StoredObject(os.pread(descriptor, wanted, offset), status.st_size)
            finally:
                os.close(descriptor)

    def _replace(self, key: str, data: bytes) -> None:
        try:
            self._drafts.replace(key, data)
        except OSError as error:
            # Whoever replaces something does so again where he does not know.
            raise of_failed_create(error.errno or 0, str(self._root), may_exist=False) from error

    def _list(self, prefix: str, start_after: str, limit: int) -> Sequence[ObjectSummary]:
        found: list[ObjectSummary] = []
        with errors_mapped():
            folder, slash, begin = prefix.rpartition("/")
            for key, entry in _walk(str(self._root), folder + slash, start_after, limit, begin):
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    found.append(ObjectSummary(key, status.st_size, status.st_mtime))
                if len(found) == limit:
                    break
        return found

    def _unlink(self, key: str) -> None:
        with errors_mapped(), suppress(FileNotFoundError, NotADirectoryError):
            folder = os.path.dirname(f"{self._root}/{key}")
            os.unlink(f"{self._root}/{key}")
            Folder(folder).sync()
            self._prune(folder)

    def _prune(self, folder: str) -> None:
        """Remove a folder that is empty, and those above it. Whoever is about to put a file there makes it anew."""
        with suppress(OSError):
            while os.path.dirname(folder) != str(self._root):
                os.rmdir(folder)
                folder = os.path.dirname(folder)


class _FileWriter:
    """Appends to a draft, which `finish` publishes."""

    def __init__(self, store: FileStore, key: str) -> None:
        self._store = store
        self._key = key
        self._lock = threading.Lock()
        self._discarded = False
        self._draft: Draft | None = None

    async def write(self, data: bytes) -> None:
        await self._store._run(self._append, data)

    async def finish(self) -> None:
        await self._store._run(self._publish)

    def discard(self) -> None:
        """Forget the draft. A write that a cancelled caller left running ends first."""
        with self._lock:
            self._discarded = True
            if self._draft is not None:
                self._draft.close()

    def _append(self, data: bytes) -> None:
        with self._lock, errors_mapped():
            self._opened().append(data)

    def _publish(self) -> None:
        with self._lock, errors_mapped():
            draft = self._opened()
            draft.sync()
            published = draft.link()
            draft.sync_name()
        if not published:
            raise StoreUnavailableError("the key of an upload was already in use")

    def _opened(self) -> Draft:
        if self._discarded:
            raise StoreUnavailableError("the upload was given up")
        if self._draft is None:
            self._draft = self._store._drafts.upload(self._key)
        return self._draft


def _walk(
    root: str, folder: str, start_after: str, limit: int, begin: str = ""
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files below a folder in byte order of their keys, leaving out branches that end before `start_after`.

    Of the folder's own entries only those whose names begin with `begin`.
    """
    behind = ""
    while True:
        first = _first_entries(root, folder, start_after, behind, limit, begin=begin)
        for key, entry in first:
            if not key.endswith("/"):
                yield key, entry
            elif key != f"{TEMPORARY_FOLDER}/":
                yield from _walk(root, key, start_after, limit)
        if len(first) < limit:
            return
        # Some of the folders were empty.
        behind = first[-1][0]


def _first_entries(
    root: str, folder: str, start_after: str, behind: str, limit: int, *, begin: str
) -> list[tuple[str, os.DirEntry[str]]]:
    """Return the first names of a folder after one, in order, holding a few times `limit` names at most."""
    found: list[tuple[str, os.DirEntry[str]]] = []
    last = _BEHIND_ALL
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(f"{root}/{folder}") as scan:
        for entry in scan:
            if not entry.name.startswith(begin) or entry.name == RESERVE_FILE:
                continue
            is_folder = entry.is_dir()
            key = f"{folder}{entry.name}/" if is_folder else folder + entry.name
            if behind < key < last and (key > start_after or (is_folder and start_after.startswith(key))):
                found.append((key, entry))
                if len(found) > 2 * limit + _SPARE_ENTRIES:
                    found.sort(key=itemgetter(0))
                    del found[limit:]
                    last = found[-1][0]
    found.sort(key=itemgetter(0))
    return found[:limit]
