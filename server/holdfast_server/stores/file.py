"""An object store in a folder, the embedded default.

An object is a file. It is written under a temporary name, synced, and linked into place: the link
fails where the name is taken, which is put-if-absent. Then its folder is synced, and the folders
above where they are new, so that an acknowledged object survives a power cut. A failed sync fails the write
and its temporary file is never used again: after such an error the kernel may have dropped the pages.
"""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from holdfast_server.stores.base import (
    ObjectNotFoundError,
    ObjectSummary,
    StoreAccessDeniedError,
    StoredObject,
    StoreUnavailableError,
)

_Result = TypeVar("_Result")

_THREADS = 32
_TEMPORARY_FOLDER = ".tmp"
_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class FileStore:
    """Keeps objects below a folder, which it makes where it is missing."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._temporary = root / _TEMPORARY_FOLDER
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="file-store")
        self._names = _TemporaryNames()
        self._known_folders: set[Path] = set()
        with _errors_mapped(root):
            self._temporary.mkdir(parents=True, exist_ok=True)

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        return await self._run(self._create, key, data)

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        return await self._run(self._read, key, offset, length)

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

    def _create(self, key: str, data: bytes) -> bool:
        path = self._root / key
        with _errors_mapped(path), self._temporary_file() as (descriptor, temporary):
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            return self._publish(descriptor, temporary, path)

    def _publish(self, descriptor: int, temporary: str, path: Path) -> bool:
        os.fsync(descriptor)
        self._make_folder(path.parent)
        try:
            os.link(temporary, path)
        except FileExistsError:
            # The winner may not have synced the folder yet, and a reader must not lose what it was told.
            _sync_folder(path.parent)
            return False
        _sync_folder(path.parent)
        return True

    def _make_folder(self, folder: Path) -> None:
        if folder in self._known_folders:
            return
        missing = [folder]
        while missing[-1] != self._root and not missing[-1].parent.is_dir():
            missing.append(missing[-1].parent)
        for new in reversed(missing):
            new.mkdir(exist_ok=True)
            _sync_folder(new.parent)
        if len(self._known_folders) >= 10_000:
            self._known_folders.clear()
        self._known_folders.add(folder)

    @contextmanager
    def _temporary_file(self) -> Iterator[tuple[int, str]]:
        temporary = f"{self._temporary}/{self._names.next()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            yield descriptor, temporary
        finally:
            os.close(descriptor)
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    def _read(self, key: str, offset: int, length: int | None) -> StoredObject:
        path = self._root / key
        with _errors_mapped(path, key):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(descriptor).st_size
                wanted = max(0, size - offset) if length is None else length
                return StoredObject(os.pread(descriptor, wanted, offset), size)
            finally:
                os.close(descriptor)

    def _list(self, prefix: str, start_after: str, limit: int) -> Sequence[ObjectSummary]:
        found: list[ObjectSummary] = []
        with _errors_mapped(self._root / prefix):
            for key, entry in _walk(str(self._root), prefix, start_after):
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    found.append(ObjectSummary(key, status.st_size, status.st_mtime))
                if len(found) == limit:
                    break
        return found

    def _unlink(self, key: str) -> None:
        path = self._root / key
        with _errors_mapped(path), suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
            _sync_folder(path.parent)


class _FileWriter:
    """Appends to a temporary file that `finish` links into place."""

    def __init__(self, store: FileStore, key: str) -> None:
        self._store = store
        self._path = store._root / key  # noqa: SLF001 - the writer is the store's own
        self._lock = threading.Lock()
        self._discarded = False
        self._descriptor: int | None = None
        self._temporary = f"{store._temporary}/{store._names.next()}"  # noqa: SLF001

    async def write(self, data: bytes) -> None:
        await self._store._run(self._append, data)  # noqa: SLF001

    async def finish(self) -> None:
        await self._store._run(self._link)  # noqa: SLF001

    def discard(self) -> None:
        """Forget the temporary file. A write that a cancelled caller left running ends first."""
        with self._lock:
            self._discarded = True
            if self._descriptor is None:
                return
            os.close(self._descriptor)
            self._descriptor = None
            with suppress(FileNotFoundError):
                os.unlink(self._temporary)

    def _open(self) -> int:
        if self._discarded:
            raise StoreUnavailableError("the upload was given up")
        if self._descriptor is None:
            self._descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        return self._descriptor

    def _append(self, data: bytes) -> None:
        with self._lock, _errors_mapped(self._path):
            view = memoryview(data)
            while view:
                view = view[os.write(self._open(), view) :]

    def _link(self) -> None:
        with self._lock, _errors_mapped(self._path):
            published = self._store._publish(self._open(), self._temporary, self._path)  # noqa: SLF001
        if not published:
            raise StoreUnavailableError("the key of an upload was already in use")


class _TemporaryNames:
    """Names that no other process or thread gives out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._run = os.urandom(8).hex()

    def next(self) -> str:
        with self._lock:
            self._count += 1
            return f"{self._run}-{self._count}"


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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _errors_mapped(path: Path, key: str | None = None) -> Iterator[None]:
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
