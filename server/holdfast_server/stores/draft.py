"""A file that nobody sees until it is whole, durable, and linked to its name.

Written without a name (O_TMPFILE) where the file system knows that, so that a crash leaves nothing behind; else
under a temporary one. For one thread at a time.
"""

import os
import threading
import uuid
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Self

# Data and size are enough: what else fsync would write, nobody reads.
_sync_data = getattr(os, "fdatasync", os.fsync)
TEMPORARY_FOLDER = ".tmp"
_OPEN_FOLDERS = 256
_WRITE = os.O_WRONLY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Folder:
    """An open folder, which is closed with its last user.

    Args:
        path: where it is.

    Raises:
        OSError: it cannot be opened.

    """

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, _FOLDER)

    def __del__(self) -> None:
        with suppress(AttributeError):
            os.close(self.descriptor)

    def sync(self) -> None:
        """Make the names in it durable."""
        os.fsync(self.descriptor)


class Draft:
    """A file in the making.

    Args:
        folder: where it will be.
        name: how it will be called there.
        temporary: a folder on the same file system for a temporary name; None to have no name.

    Raises:
        OSError: it cannot be made.

    """

    def __init__(self, folder: Folder, name: str, temporary: Path | None) -> None:
        self._folder = folder
        self._name = name
        self._temporary = "" if temporary is None else f"{temporary}/{uuid.uuid4().hex}"
        if self._temporary:
            self._file = os.open(self._temporary, _WRITE | os.O_CREAT | os.O_EXCL, 0o644)
        else:
            self._file = os.open(".", _WRITE | os.O_TMPFILE, 0o644, dir_fd=folder.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

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
        source = self._temporary or f"/proc/self/fd/{self._file}"
        folder = self._folder.descriptor
        try:
            # Any folder will do for a source that is absolute; giving one makes the call follow the link in /proc.
            os.link(source, self._name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
        except FileExistsError:
            return False
        return True

    def sync_name(self) -> None:
        """Make the name durable, also one that somebody else has taken and a reader may be told of."""
        self._folder.sync()

    def close(self) -> None:
        """Forget what was not linked."""
        os.close(self._file)
        if self._temporary:
            with suppress(FileNotFoundError):
                os.unlink(self._temporary)


class Drafts:
    """Makes drafts below a root, and the folders that they need. Folders used of late are kept open.

    Args:
        root: a folder, which is made where it is missing.

    Raises:
        OSError: it cannot be made or written to.

    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._folders: OrderedDict[str, Folder] = OrderedDict()
        temporary = root / TEMPORARY_FOLDER
        temporary.mkdir(parents=True, exist_ok=True)
        self._temporary = temporary if _needs_names(temporary) else None

    def draft(self, key: str) -> Draft:
        """A draft of what will be at a path below the root."""
        folder, _, name = f"{self._root}/{key}".rpartition("/")
        return Draft(self._folder(folder), name, self._temporary)

    def _folder(self, path: str) -> Folder:
        with self._lock:
            folder = self._folders.get(path)
            if folder is not None:
                self._folders.move_to_end(path)
                return folder
        self._make(Path(path))
        folder = Folder(path)
        with self._lock:
            self._folders[path] = folder
            if len(self._folders) > _OPEN_FOLDERS:
                self._folders.popitem(last=False)
        return folder

    def _make(self, folder: Path) -> None:
        missing = [folder]
        while missing[-1] != self._root and not missing[-1].parent.is_dir():
            missing.append(missing[-1].parent)
        for new in reversed(missing):
            new.mkdir(exist_ok=True)
            Folder(str(new.parent)).sync()


def _needs_names(folder: Path) -> bool:
    """Whether a folder's file system cannot link files that have no name."""
    name = uuid.uuid4().hex
    try:
        with Draft(Folder(str(folder)), name, None) as draft:
            draft.link()
        os.unlink(f"{folder}/{name}")
    except (OSError, AttributeError):
        return True
    return False
