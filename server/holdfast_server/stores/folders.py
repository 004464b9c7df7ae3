"""Folders whose names outlive a power cut, made where they are missing; those used of late are kept open.

A name is seen as soon as it is there, but it goes with the power until the folder that it stands in is synced. So a new
folder bears a mark, the sticky bit, until its name is durable. One without the mark is durable with all folders
above it. Who comes upon one with the mark syncs its name first, whoever made it and whatever became of him.
"""

import errno
import fcntl
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Of a file or a folder: its name is not known to be durable.
MARK = stat.S_ISVTX

_OPEN_FOLDERS = 256
_NEW = 0o777 | MARK
# Making a folder takes a sync. Whoever is not done by then has been stopped.
_LOCK_SECONDS = 1.0
_LOCK_PAUSE_SECONDS = 0.002
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Folder:
    """An open folder, which is closed with its last user.

    Args:
        path: where it is.
        above: the open folder that the path begins at; None where it begins elsewhere.

    Attributes:
        descriptor: the descriptor.
        is_sound: whether others may be given it too.

    Raises:
        OSError: it cannot be opened.

    """

    def __init__(self, path: str, above: "Folder | None" = None) -> None:
        self.descriptor: int = os.open(path, _FOLDER, dir_fd=None if above is None else above.descriptor)
        self.is_sound = True
        self._lock = threading.Lock()
        self._failure: int | None = None

    def __del__(self) -> None:
        with suppress(AttributeError):
            os.close(self.descriptor)

    @property
    def is_marked(self) -> bool:
        """Whether its own name is not known to be durable."""
        return bool(os.fstat(self.descriptor).st_mode & MARK)

    def unmark(self) -> None:
        """Say that its name is durable. Where that cannot be said, whoever comes next makes sure once more."""
        with suppress(OSError):
            os.fchmod(self.descriptor, stat.S_IMODE(os.fstat(self.descriptor).st_mode) & ~MARK)

    def sync(self) -> None:
        """Make the names in it durable.

        The kernel tells a descriptor of a failure once, and forgets what it could not write. So a sync that has failed
        has failed for everybody who shares the descriptor, and for ever.

        Raises:
            OSError: it failed, now or before.

        """
        with self._lock:
            if self._failure is not None:
                raise OSError(self._failure, os.strerror(self._failure))
            try:
                os.fsync(self.descriptor)
            except OSError as error:
                self._failure = error.errno or errno.EIO
                self.is_sound = False
                raise

    @contextmanager
    def locked(self, seconds: float = 0.0) -> Iterator[bool]:
        """Lock it among all who make folders in it; whether that was done.

        Args:
            seconds: how long to wait where somebody else has it locked. He may have been stopped for longer.

        """
        deadline = time.monotonic() + seconds
        while not (is_mine := self._lock_now()) and time.monotonic() < deadline:
            time.sleep(_LOCK_PAUSE_SECONDS)
        try:
            yield is_mine
        finally:
            if is_mine:
                fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def _lock_now(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def is_gone(self) -> bool:
        """Whether it was removed since it was opened."""
        if os.fstat(self.descriptor).st_nlink == 0:
            self.is_sound = False
            return True
        return False


class Folders:
    """The folders below a root.

    Args:
        root: where they are. The root itself is there and durable, see `make_root`.

    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Folder] = OrderedDict()

    def open(self, path: str) -> Folder:
        """Return a folder whose name is durable.

        Args:
            path: where it is below the root, "" for the root.

        Raises:
            OSError: it cannot be made or opened.

        """
        with self._lock:
            folder = self._open.get(path)
            if folder is not None and folder.is_sound:
                self._open.move_to_end(path)
                return folder
        folder = self._durable(path)
        with self._lock:
            self._open[path] = folder
            if len(self._open) > _OPEN_FOLDERS:
                self._open.popitem(last=False)
        return folder

    def _durable(self, path: str) -> Folder:
        while True:
            try:
                folder = Folder(f"{self._root}/{path}")
            except FileNotFoundError:
                if not path:
                    raise
            else:
                if not path or not folder.is_marked:
                    return folder
            above_path, _, name = path.rpartition("/")
            above = self._durable(above_path)
            # Where somebody else removes or makes anew what was found here, one looks again.
            with suppress(FileNotFoundError):
                return _make(above, name)


def _make(above: Folder, name: str) -> Folder:
    """Open a folder, after making it where it is missing, and make its name durable."""
    with above.locked(), suppress(FileExistsError):
        os.mkdir(name, _NEW, dir_fd=above.descriptor)
        return _settled(above, name)
    with above.locked(_LOCK_SECONDS) as nobody_makes_it:
        folder = Folder(name, above)
        if not folder.is_marked:
            return folder
        # Its maker has died, or could not sync its name. Then no later sync would, and it is made anew.
        if nobody_makes_it:
            with suppress(OSError):
                os.rmdir(name, dir_fd=above.descriptor)
                os.mkdir(name, _NEW, dir_fd=above.descriptor)
        return _settled(above, name)


def _settled(above: Folder, name: str) -> Folder:
    folder = Folder(name, above)
    above.sync()
    folder.unmark()
    return folder


def make_root(root: Path) -> None:
    """Make a folder and those above it where they are missing, and their names durable, whoever made them.

    Raises:
        OSError: it cannot be made.

    """
    root = root.resolve()
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    try:
        _sync_above(root)
    except OSError:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


def _sync_above(root: Path) -> None:
    for folder, above in zip((root, *root.parents), root.parents, strict=False):
        if folder.stat().st_dev != above.stat().st_dev:
            return  # what is mounted is there without its name
        # Where it may not even be read, it was not made by who starts this server.
        with suppress(PermissionError):
            Folder(str(above)).sync()
