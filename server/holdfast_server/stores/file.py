"""An object store in a folder, the embedded default.

An object is a file. It is written without a name, synced, and linked into place: the link fails where
the name is taken, which is put-if-absent. Then its folder is synced, and the folders above where they
are new, so that an acknowledged object survives a power cut. A failed sync fails the write and the file is
never used again: after such an error the kernel may have dropped the pages. Where the file system knows no
files without a name (O_TMPFILE), they get a temporary one.
"""

import asyncio
import errno
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from holdfast_server.stores.base import (
    ObjectNotFoundError,
    ObjectSummary,
    StoreAccessDeniedError,
    StoredObject,
    StoreError,
    StoreUnavailableError,
)
from holdfast_server.stores.batches import Batches
from holdfast_server.stores.draft import Draft, Folder, needs_names

_Result = TypeVar("_Result")

_THREADS = 32
# Two batches of each kind at a time: while one waits for the disk, the next fills up.
_LANES = 2
# Reads above this would hold up the small ones behind them.
_OPEN_FOLDERS = 256
_LARGE_READ_BYTES = 256 << 10
_TEMPORARY_FOLDER = ".tmp"
_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class FileStore:
    """Keeps objects below a folder, which it makes where it is missing."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="file-store")
        self._creates = Batches(self._create_all, self._threads, _LANES)
        self._reads = Batches(self._read_all, self._threads, _LANES)
        self._lock = threading.Lock()
        self._open_folders: OrderedDict[str, Folder] = OrderedDict()
        temporary = root / _TEMPORARY_FOLDER
        with _errors_mapped():
            temporary.mkdir(parents=True, exist_ok=True)
            self._temporary = temporary if needs_names(temporary) else None

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        return await self._creates.run((key, data))

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        if length is not None and length > _LARGE_READ_BYTES:
            return await self._run(self._read, key, offset, length)
        return await self._reads.run((key, offset, length))

    @asynccontextmanager
    async def put(self, key: str) -> AsyncIterator["_FileWriter"]:
        """Write an object under a fresh key."""
        writer = _FileWriter(self, key)
        try:
            yield writer
        finally:
            writer.discard()

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """List objects in key order."""
        return await self._run(self._list, prefix, start_after, limit)

    async def delete(self, key: str) -> None:
        """Remove an object."""
        await self._run(self._unlink, key)

    async def _run(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _create_all(self, items: Sequence[tuple[str, bytes]]) -> Sequence[bool | Exception]:
        """Create objects together, step by step: once the first folder is synced, the others are nearly so."""
        results: dict[int, bool | Exception] = {}
        drafts: dict[int, Draft] = {}

        def for_each(step: Callable[[int], None]) -> None:
            for index in range(len(items)):
                if not isinstance(results.get(index), Exception):
                    with _failure_noted(results, index):
                        step(index)

        def write(index: int) -> None:
            drafts[index] = self._draft(items[index][0])
            drafts[index].write_durably(items[index][1])

        try:
            for_each(write)
            for_each(lambda index: results.update({index: drafts[index].link()}))
            for_each(lambda index: drafts[index].sync_name())
        finally:
            for draft in drafts.values():
                draft.close()
        return [results[index] for index in range(len(items))]

    def _read_all(self, items: Sequence[tuple[str, int, int | None]]) -> Sequence[StoredObject | Exception]:
        results: dict[int, StoredObject | Exception] = {}
        for index, item in enumerate(items):
            with _failure_noted(results, index):
                results[index] = self._read(*item)
        return [results[index] for index in range(len(items))]

    def _draft(self, key: str) -> Draft:
        folder, _, name = f"{self._root}/{key}".rpartition("/")
        return Draft(self._folder(folder), name, self._temporary)

    def _folder(self, path: str) -> Folder:
        """A folder, made where it is missing. Those used of late are kept open."""
        with self._lock:
            folder = self._open_folders.get(path)
            if folder is not None:
                self._open_folders.move_to_end(path)
                return folder
        self._make_folder(Path(path))
        folder = Folder(path)
        with self._lock:
            self._open_folders[path] = folder
            if len(self._open_folders) > _OPEN_FOLDERS:
                self._open_folders.popitem(last=False)
        return folder

    def _make_folder(self, folder: Path) -> None:
        missing = [folder]
        while missing[-1] != self._root and not missing[-1].parent.is_dir():
            missing.append(missing[-1].parent)
        for new in reversed(missing):
            new.mkdir(exist_ok=True)
            Folder(str(new.parent)).sync()

    def _read(self, key: str, offset: int, length: int | None) -> StoredObject:
        path = self._root / key
        with _errors_mapped(key):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(descriptor).st_size
                wanted = max(0, size - offset) if length is None else length
                return StoredObject(os.pread(descriptor, wanted, offset), size)
            finally:
                os.close(descriptor)

    def _list(self, prefix: str, start_after: str, limit: int) -> Sequence[ObjectSummary]:
        found: list[ObjectSummary] = []
        with _errors_mapped():
            for key, entry in _walk(str(self._root), prefix, start_after):
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    found.append(ObjectSummary(key, status.st_size, status.st_mtime))
                if len(found) == limit:
                    break
        return found

    def _unlink(self, key: str) -> None:
        path = self._root / key
        with _errors_mapped(), suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
            Folder(str(path.parent)).sync()


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
        with self._lock, _errors_mapped():
            self._opened().append(data)

    def _publish(self) -> None:
        with self._lock, _errors_mapped():
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
            self._draft = self._store._draft(self._key)
        return self._draft


def _walk(root: str, prefix: str, start_after: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files below a folder in byte order of their keys, leaving out branches that end before `start_after`."""
    try:
        with os.scandir(f"{root}/{prefix}") as scan:
            entries = [(entry.name + "/" if entry.is_dir() else entry.name, entry) for entry in scan]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, entry in sorted(entries, key=lambda item: item[0]):
        key = prefix + name
        if name.endswith("/"):
            if name != f"{_TEMPORARY_FOLDER}/" and (key > start_after or start_after.startswith(key)):
                yield from _walk(root, key, start_after)
        elif key > start_after:
            yield key, entry


@contextmanager
def _failure_noted(results: dict[int, Any], index: int) -> Iterator[None]:
    try:
        with _errors_mapped():
            yield
    except StoreError as error:
        results[index] = error


@contextmanager
def _errors_mapped(key: str | None = None) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if key is not None:
            raise ObjectNotFoundError(key) from error
        raise StoreUnavailableError("the store's folder is gone") from error
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "unknown error")
        if error.errno in _REFUSALS:
            raise StoreAccessDeniedError(f"the store's folder refuses access ({name})") from error
        raise StoreUnavailableError(f"the store's folder failed ({name})") from error
