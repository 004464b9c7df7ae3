"""The files of large objects. A file is complete and durable before the database names it.

A file that nobody names is left by an upload that was cut off. A file that is being written is locked, so that a sweep
of such orphans leaves it alone.
"""

import fcntl
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from holdfast_server.stores.file.folder import StoreFolder

# Data and size are enough: nobody reads what else fsync would write.
_sync_data = getattr(os, "fdatasync", os.fsync)
_NAME = re.compile("[0-9a-f]{32}")
# A device or a pipe must not block whoever opens it.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class BlobFile:
    """A complete file: its name among the blobs, and its size."""

    name: str
    size_bytes: int


class BlobDraft:
    """A file that is being written. For one thread at a time.

    Args:
        folder: the folder of the store.

    Attributes:
        is_kept: whether it stays when it is closed, because the database names it or may do so.

    Raises:
        OSError: it cannot be created.

    """

    def __init__(self, folder: StoreFolder) -> None:
        self._folder = folder
        self._name = os.urandom(16).hex()
        self._size_bytes = 0
        self.is_kept = False
        self._descriptor = folder.create_blob(self._name)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def append(self, data: bytes | bytearray) -> None:
        """Write more bytes."""
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self._size_bytes += written
            view = view[written:]

    def sync(self) -> BlobFile:
        """Make the file durable, with its name."""
        _sync_data(self._descriptor)
        os.fsync(self._folder.blobs)
        return BlobFile(self._name, self._size_bytes)

    def close(self) -> None:
        """Close the file, and remove it unless it is to be kept."""
        if not self.is_kept:
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._folder.blobs)
        os.close(self._descriptor)


def is_name(name: object) -> bool:
    """Return whether a value from the database is the name of a file. In a damaged page it may be any other."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def read(folder: StoreFolder, name: str, offset: int, length: int) -> tuple[bytes, int]:
    """Return bytes of a file, fewer at its end, and the size of the file.

    Raises:
        OSError: it cannot be read, or is not a regular file.

    """
    descriptor = os.open(name, _READ, dir_fd=folder.blobs)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(name)
        length = min(length, max(0, status.st_size - offset))
        found = os.pread(descriptor, length, offset)
        # The kernel reads at most 2 GiB at a time, and may read less.
        while len(found) < length and (more := os.pread(descriptor, length - len(found), offset + len(found))):
            found += more
        return found, status.st_size
    finally:
        os.close(descriptor)


def sweep(folder: StoreFolder, is_named: Callable[[str], bool], before_seconds: float) -> int:
    """Remove the files that are old, not named, and not being written. Return their number.

    Args:
        folder: the folder of the store.
        is_named: returns whether an object has a file with this name.
        before_seconds: the time of the last write, since the epoch, from which a file is too young.

    Raises:
        OSError: the files cannot be listed.

    """
    removed = 0
    # A descriptor that was listed once would begin at its end.
    with os.scandir(f"/proc/self/fd/{folder.blobs}") as entries:
        for entry in entries:
            if is_name(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    removed += _sweep_one(folder, entry.name, is_named, before_seconds)
    return removed


def _sweep_one(folder: StoreFolder, name: str, is_named: Callable[[str], bool], before_seconds: float) -> bool:
    if os.stat(name, dir_fd=folder.blobs, follow_symlinks=False).st_mtime > before_seconds or is_named(name):
        return False
    descriptor = os.open(name, _READ, dir_fd=folder.blobs)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # Its upload may have ended since. No other one uses the name.
        if is_named(name):
            return False
        os.unlink(name, dir_fd=folder.blobs)
        return True
    finally:
        os.close(descriptor)


def remove(folder: StoreFolder, names: list[str]) -> None:
    """Remove files, durably.

    Raises:
        OSError: one cannot be removed.

    """
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder.blobs)
    if names:
        os.fsync(folder.blobs)
