"""The folder of a store: its making, its permissions, and the check that it is still in its place.

The folder may be a symbolic link, which is the operator's choice. In it nothing is followed: a link, a device, a pipe
or a second name of a file is refused before it is opened.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from holdfast_server.stores.base import NothingWrittenError, StoreGoneError, StoreSettingsError
from holdfast_server.stores.file.errors import mapped, of_errno
from holdfast_server.stores.file.file_systems import require_local

DATABASE = "holdfast.db"
WAL = f"{DATABASE}-wal"
SHARED_MEMORY = f"{DATABASE}-shm"
JOURNAL = f"{DATABASE}-journal"
# A database that is being made.
NEW_DATABASE = "holdfast.new"
BLOBS = "blobs"
LOCK = "holdfast.lock"
RESERVE = "holdfast.reserve"
# In the folder of a store of version 0.1 and before, which had a file for each object.
_OLD_MANIFEST = "holdfast.json"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LOCK_SECONDS = 10.0
_PAUSE_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the files of a store: its user alone, or a group as well.

    Attributes:
        group: the number of the group; None for none.

    """

    group: int | None = None

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return who may use the files of a store, by one of them."""
        return cls(status.st_gid if status.st_mode & stat.S_IRWXG else None)

    @property
    def file_mode(self) -> int:
        """The mode of the files."""
        return 0o600 if self.group is None else 0o660

    @property
    def folder_mode(self) -> int:
        """The mode of the folders. What is made in the folder of a group belongs to the group."""
        return 0o700 if self.group is None else 0o2770


class StoreFolder:
    """An open folder of a store. Its methods block.

    Args:
        root: the folder, which is made if it is missing, with those above it.
        access: who may use what is made, for a new store. An existing one keeps its own.

    Raises:
        StoreError: the folder cannot be used.

    """

    def __init__(self, root: Path, access: Access) -> None:
        self._access = access
        self._identity: tuple[int, int] | None = None
        with mapped(str(root)):
            self.path = os.path.realpath(root)
            self._make_root()
            self._descriptor = os.open(self.path, _FOLDER)
        try:
            with mapped(self.path):
                require_local(self._descriptor, self.path)
            self._require_plain_files()
            self._refuse_old_layout()
            with mapped(self.path):
                if self.has_file(DATABASE):
                    self._access = Access.of(os.lstat(self.database))
                self.blobs = self._open_blobs()
                self._lock = self._create(LOCK)
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def database(self) -> str:
        """The path of the database."""
        return f"{self.path}/{DATABASE}"

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in (self._lock, self.blobs, self._descriptor):
            os.close(descriptor)

    @property
    def new_database(self) -> str:
        """The path of a database that is being made."""
        return f"{self.path}/{NEW_DATABASE}"

    def begin_database(self) -> None:
        """Create the empty file of a new database, and remove what was left of an earlier attempt.

        Raises:
            OSError: that failed.

        """
        for suffix in ("", "-journal", "-wal", "-shm"):
            self.remove_file(NEW_DATABASE + suffix)
        os.close(self._create(NEW_DATABASE, os.O_EXCL))

    def finish_database(self) -> None:
        """Give a new database its name, durably. SQLite must not have it open.

        Raises:
            OSError: that failed.

        """
        descriptor = os.open(NEW_DATABASE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._descriptor)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        for name in (JOURNAL, WAL, SHARED_MEMORY):
            self.remove_file(name)
        os.rename(NEW_DATABASE, DATABASE, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        self.sync()

    def note_database(self) -> None:
        """Note which database is at its path, for `require_in_place`.

        Raises:
            OSError: there is none.

        """
        status = os.stat(self.database, follow_symlinks=False)
        self._identity = status.st_dev, status.st_ino

    def sync(self) -> None:
        """Make the names in the folder durable.

        Raises:
            OSError: that failed.

        """
        os.fsync(self._descriptor)

    def require_in_place(self) -> None:
        """Check that the database at the store's path is the one that was opened.

        Raises:
            StoreGoneError: it was moved, deleted or replaced.
            StoreUnavailableError: it cannot be looked at.

        """
        try:
            status = os.stat(self.database, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            found = None
        except OSError as error:
            raise of_errno(error.errno or 0, self.database) from error
        else:
            found = status.st_dev, status.st_ino
        if found != self._identity:
            raise StoreGoneError(
                "the store's folder was moved, deleted or replaced",
                detail=f"{self.database} is no longer the database that was opened",
            )

    def create_file(self, name: str) -> int:
        """Create a file in the folder, and return its descriptor.

        Raises:
            OSError: it cannot be created, or exists.

        """
        return self._create(name, os.O_EXCL)

    def create_blob(self, name: str) -> int:
        """Create a file among the blobs, and return its descriptor.

        Raises:
            OSError: it cannot be created.

        """
        return self._create(name, os.O_EXCL, folder=self.blobs)

    def remove_file(self, name: str) -> None:
        """Remove a file of the folder if it exists.

        Raises:
            OSError: it cannot be removed.

        """
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def has_file(self, name: str) -> bool:
        """Return whether the folder has a file."""
        return os.path.lexists(f"{self.path}/{name}")

    def has_bytes(self, name: str) -> bool:
        """Return whether the folder has a file that is not empty."""
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_size > 0
        except FileNotFoundError:
            return False

    def rewrite_wal(self) -> None:
        """Write the bytes of the write-ahead log again, and make them durable.

        Raises:
            OSError: that failed.

        """
        with suppress(FileNotFoundError):
            descriptor = os.open(WAL, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._descriptor)
            try:
                position = 0
                while data := os.pread(descriptor, 1 << 20, position):
                    position += os.pwrite(descriptor, data, position)
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)

    def lock(self, seconds: float = 0.0) -> bool:
        """Lock the folder among all processes and stores that checkpoint it; return whether that succeeded.

        Args:
            seconds: how long to wait for another holder.

        """
        ends = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= ends:
                    return False
                time.sleep(_PAUSE_SECONDS)
            else:
                return True

    def unlock(self) -> None:
        """Unlock the folder."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder while the block runs.

        Raises:
            NothingWrittenError: another process does not release the lock.

        """
        if not self.lock(_LOCK_SECONDS):
            raise NothingWrittenError(
                "the store is in use by another process, which does not give it free",
                detail=f"{self.path}/{LOCK} is locked",
            )
        try:
            yield
        finally:
            self.unlock()

    def _make_root(self) -> None:
        root = Path(self.path)
        missing = [str(folder) for folder in (root, *root.parents) if not folder.exists()]
        for folder in reversed(missing):
            with suppress(FileExistsError):
                self._make_folder(folder)
        try:
            _sync_above(root)
        except OSError:
            for folder in missing:
                with suppress(OSError):
                    os.rmdir(folder)
            raise

    def _open_blobs(self) -> int:
        with suppress(FileExistsError):
            self._make_folder(BLOBS, self._descriptor)
            try:
                self.sync()
            except OSError:
                # A later sync would not make this name durable.
                os.rmdir(BLOBS, dir_fd=self._descriptor)
                raise
        return os.open(BLOBS, _FOLDER | os.O_NOFOLLOW, dir_fd=self._descriptor)

    def _make_folder(self, path: str, folder: int | None = None) -> None:
        os.mkdir(path, 0o700, dir_fd=folder)
        if self._access.group is not None:
            os.chown(path, -1, self._access.group, dir_fd=folder)
        # The umask may have taken permissions away, and the mode above does not set the bit of the group.
        os.chmod(path, self._access.folder_mode, dir_fd=folder)

    def _create(self, name: str, flags: int = 0, *, folder: int | None = None) -> int:
        where = self._descriptor if folder is None else folder
        existed = not flags & os.O_EXCL and os.access(name, os.F_OK, dir_fd=where, follow_symlinks=False)
        flags |= os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=where)
        if not existed:
            try:
                if self._access.group is not None:
                    os.fchown(descriptor, -1, self._access.group)
                os.fchmod(descriptor, self._access.file_mode)
            except OSError:
                os.close(descriptor)
                raise
        return descriptor

    def _require_plain_files(self) -> None:
        for name in (DATABASE, WAL, SHARED_MEMORY, JOURNAL, LOCK, RESERVE):
            with mapped(self.path):
                try:
                    status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    continue
            if not stat.S_ISREG(status.st_mode):
                raise self._refused(name, "a regular file", stat.filemode(status.st_mode))
            if status.st_nlink > 1:
                raise self._refused(name, "a file with one name", f"one with {status.st_nlink} hard links")
        if self.has_file(BLOBS) and not stat.S_ISDIR(os.lstat(f"{self.path}/{BLOBS}").st_mode):
            raise self._refused(BLOBS, "a folder", stat.filemode(os.lstat(f"{self.path}/{BLOBS}").st_mode))

    def _refused(self, name: str, expected: str, found: str) -> StoreSettingsError:
        message = f"{name} in the store's folder: expected {expected}, found {found}"
        return StoreSettingsError(message, detail=f"{self.path}/{name}")

    def _refuse_old_layout(self) -> None:
        if self.has_file(_OLD_MANIFEST) and not self.has_file(DATABASE):
            raise StoreSettingsError(
                "the folder holds a store of Holdfast 0.1 or older, which this version cannot read: serve it with "
                "version 0.1, or choose an empty folder",
                detail=f"{self.path} has {_OLD_MANIFEST} and no {DATABASE}",
            )


def _sync_above(root: Path) -> None:
    """Make the names of a folder and of those above it durable, whoever made them."""
    for folder, above in zip((root, *root.parents), root.parents, strict=False):
        if folder.stat().st_dev != above.stat().st_dev:
            return  # a mount point exists without its name
        # The process did not make a folder that it may not even read.
        with suppress(PermissionError):
            descriptor = os.open(above, _FOLDER)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
