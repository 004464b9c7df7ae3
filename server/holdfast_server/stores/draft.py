"""A file that nobody sees until it is whole, durable, and linked to its name.

Written without a name (O_TMPFILE) where the file system knows that, so that a crash leaves nothing behind; else
under a temporary one. For one thread at a time.

The name is seen before it is durable: there is no other order. So the file bears a mark, as a new folder does, from
the beginning until its name has been synced. Whoever comes upon a marked file, since he reads it or wanted its name
for himself, may neither count on it nor trust a sync of the folder: one may have failed before, and what it dropped no
later one writes. He puts a copy in its place and makes that durable, which changes nothing for anybody else.
"""

import os
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from holdfast_server.stores.folders import MARK, Folder, Folders

# Data and size are enough: what else fsync would write, nobody reads.
_sync_data = getattr(os, "fdatasync", os.fsync)
TEMPORARY_FOLDER = ".tmp"
_WRITE = os.O_WRONLY | os.O_CLOEXEC
_MODE = 0o644


class Draft:
    """A file in the making.

    Args:
        folders: where it will be.
        key: its path there.
        temporary: a folder on the same file system for a temporary name; "" to have no name.
        mode: its permissions, with or without the mark.

    Raises:
        OSError: it cannot be made.

    """

    def __init__(self, folders: Folders, key: str, temporary: str, mode: int) -> None:
        self._folders = folders
        self._path, _, self._name = key.rpartition("/")
        self._folder = folders.open(self._path)
        self._temporary = temporary and f"{temporary}/{uuid.uuid4().hex}"
        if self._temporary:
            self._file = os.open(self._temporary, _WRITE | os.O_CREAT | os.O_EXCL, mode)
        else:
            self._in_folder(self._open_without_name, mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def mode(self) -> int:
        """The permissions that it really has."""
        return stat.S_IMODE(os.fstat(self._file).st_mode)

    def append(self, data: bytes) -> None:
        """Write on."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def begin_sync(self) -> None:
        """Have the kernel begin to write, so that several files are on their way when the first is waited for."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        """Make what was written durable."""
        _sync_data(self._file)

    def link(self) -> bool:
        """Give it its name; False where that is taken."""
        try:
            self._in_folder(self._link)
        except FileExistsError:
            return False
        return True

    def replace(self) -> None:
        """Give it its name, whether that is taken or not. It must have a temporary one."""
        self._in_folder(lambda folder: os.rename(self._temporary, self._name, dst_dir_fd=folder))

    def sync_name(self) -> None:
        """Make the name durable."""
        self._folder.sync()

    def set_mode(self, mode: int) -> None:
        """Change its permissions. Where a mark cannot be taken away, whoever comes next makes sure once more."""
        with suppress(OSError):
            os.fchmod(self._file, mode)

    def close(self) -> None:
        """Forget what was not linked."""
        os.close(self._file)
        if self._temporary:
            with suppress(FileNotFoundError):
                os.unlink(self._temporary)

    def _open_without_name(self, folder: int, mode: int) -> None:
        self._file = os.open(".", _WRITE | os.O_TMPFILE, mode, dir_fd=folder)

    def _link(self, folder: int) -> None:
        source = self._temporary or f"/proc/self/fd/{self._file}"
        # Any folder will do for a source that is absolute; giving one makes the call follow the link in /proc.
        os.link(source, self._name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)

    def _in_folder(self, step: Callable[..., None], *arguments: int) -> None:
        """Do something in the folder, or in one made anew where it was removed meanwhile."""
        while True:
            try:
                return step(self._folder.descriptor, *arguments)
            except OSError:
                if not self._folder.is_gone():
                    raise
                self._folder = self._folders.open(self._path)


class Drafts:
    """Makes drafts below a root, and the folders that they need.

    Args:
        root: a folder that is there.

    Raises:
        OSError: it cannot be written to.

    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders = Folders(root)
        self._temporary = f"{root}/{TEMPORARY_FOLDER}"
        # What is left of the permissions by the umask, once that is known.
        self._mode: int | None = None
        with suppress(FileExistsError):
            os.mkdir(self._temporary)
        self.has_names = _needs_names(Folder(self._temporary))

    def draft(self, key: str) -> Draft:
        """Return a draft for a key that others may compete for."""
        return Draft(self._folders, key, self._temporary if self.has_names else "", _MODE | MARK)

    def upload(self, key: str) -> Draft:
        """Return a draft for a fresh key, which nobody knows before its name is durable."""
        return Draft(self._folders, key, self._temporary if self.has_names else "", _MODE)

    def settle(self, draft: Draft) -> None:
        """Make the name of a marked draft durable, and say so.

        Raises:
            OSError: it cannot be made durable.

        """
        draft.sync_name()
        if self._mode is None:
            self._mode = draft.mode & ~MARK
        draft.set_mode(self._mode)

    def confirm(self, key: str) -> None:
        """Make the name of a file durable that somebody else has put there.

        Raises:
            OSError: it cannot be made durable, or is gone.

        """
        path = f"{self._root}/{key}"
        if os.stat(path).st_mode & MARK:
            self.replace(key, Path(path).read_bytes())

    def replace(self, key: str, data: bytes) -> None:
        """Put a file with other bytes in the place of one, or create it.

        Raises:
            OSError: it cannot be made, or made durable.

        """
        with Draft(self._folders, key, self._temporary, _MODE | MARK) as other:
            other.append(data)
            other.sync()
            other.replace()
            self.settle(other)


def _needs_names(folder: Folder) -> bool:
    """Whether a folder's file system cannot link files that have no name."""
    name = uuid.uuid4().hex
    try:
        file = os.open(".", _WRITE | os.O_TMPFILE, _MODE, dir_fd=folder.descriptor)
        try:
            os.link(f"/proc/self/fd/{file}", name, src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)
        finally:
            os.close(file)
        os.unlink(name, dir_fd=folder.descriptor)
    except (OSError, AttributeError):
        return True
    return False
