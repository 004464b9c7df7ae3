"""A file that nobody sees until it is whole, synced, and linked to its name.

Written without a name (O_TMPFILE) where the file system knows that, so that a crash leaves nothing behind; else
under a temporary one. For one thread at a time.
"""

import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Self

# Data and size are enough: what else fsync would write, nobody reads.
_sync_data = getattr(os, "fdatasync", os.fsync)
_WRITE = os.O_WRONLY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Draft:
    """A file in the making.

    Args:
        path: where it will be; the folder must be there.
        temporary: a folder on the same file system for a temporary name; None to have no name.

    Raises:
        OSError: it cannot be made.

    """

    def __init__(self, path: str, temporary: Path | None) -> None:
        folder, self._name = os.path.split(path)
        self._temporary = "" if temporary is None else f"{temporary}/{uuid.uuid4().hex}"
        self._folder = os.open(folder, _FOLDER)
        try:
            if self._temporary:
                self._file = os.open(self._temporary, _WRITE | os.O_CREAT | os.O_EXCL, 0o644)
            else:
                self._file = os.open(".", _WRITE | os.O_TMPFILE, 0o644, dir_fd=self._folder)
        except BaseException:
            os.close(self._folder)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def append(self, data: bytes) -> None:
        """Write on."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def sync(self) -> None:
        """Make what was written durable."""
        _sync_data(self._file)

    def link(self) -> bool:
        """Give it its name; False where that is taken."""
        source = self._temporary or f"/proc/self/fd/{self._file}"
        try:
            # Any folder will do for a source that is absolute; giving one makes the call follow the link in /proc.
            os.link(source, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=True)
        except FileExistsError:
            return False
        return True

    def sync_name(self) -> None:
        """Make the name durable, also one that somebody else has taken and a reader may be told of."""
        os.fsync(self._folder)

    def publish(self) -> bool:
        """All of it: durable, then visible; False where the name is taken."""
        self.sync()
        published = self.link()
        self.sync_name()
        return published

    def close(self) -> None:
        """Forget what was not published."""
        os.close(self._file)
        os.close(self._folder)
        if self._temporary:
            with suppress(FileNotFoundError):
                os.unlink(self._temporary)


def needs_names(folder: Path) -> bool:
    """Whether a folder's file system cannot link files that have no name."""
    name = f"{folder}/{uuid.uuid4().hex}"
    try:
        with Draft(name, None) as draft:
            draft.publish()
        os.unlink(name)
    except (OSError, AttributeError):
        return True
    return False


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, _FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
