"""Private folders for temporary files, which a later call removes if their process was killed.

A process holds a lock on its folders. The kernel releases the lock when the process ends, however it ends.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

_PREFIX = "holdfast-import-"


class PrivateFolder:
    """A folder in the folder for temporary files, which only its owner can read. All methods block.

    Attributes:
        path: its path.

    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def make(cls) -> Self:
        """Make a folder.

        Raises:
            OSError: it cannot be made.

        """
        while True:
            path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            try:
                lock = _locked(path)
            except (BlockingIOError, FileNotFoundError):
                # Another process removes it, since it was made and not yet locked.
                continue
            return cls(path, lock)

    def remove(self) -> None:
        """Remove the folder. If that is not possible, a later call of `remove_left` does it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def remove_left() -> None:
    """Remove the folders of this user's processes that were killed. Leave those that may be in use."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX):
                _remove_if_left(entry.path)


def _remove_if_left(path: str) -> None:
    # A lock that cannot be acquired, for whatever reason, means that the folder may be in use.
    with suppress(OSError):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(folder).st_uid == os.geteuid():
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
        finally:
            os.close(folder)


def _locked(path: Path) -> int:
    """Return a descriptor of a new folder, with a lock if the file system has locks.

    Raises:
        BlockingIOError, FileNotFoundError: another process removes the folder.

    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            # `remove_left` gets no lock here either, and removes nothing.
            return folder
        # Removed before it was locked.
        path.stat()
    except BaseException:
        os.close(folder)
        raise
    return folder
