"""Space that a folder store reserves, so that objects can be deleted when the disk is full.

Every deletion writes a small marker first. Without room for the marker nothing could be deleted on a full disk, and
nothing would ever be collected. So a store has a file of a megabyte that holds no data. On a full disk, an operation
that frees space deletes the file. Until it can be created again, saves are refused as on a full disk.
"""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

RESERVE_FILE = ".reserve"
_RESERVE_BYTES = 1 << 20
# How often to check whether another process has deleted the file.
_CHECK_SECONDS = 1.0


class Reserve:
    """The space that is reserved in a folder. Its methods block.

    Args:
        root: the store's folder.

    """

    def __init__(self, root: Path) -> None:
        self._path = f"{root}/{RESERVE_FILE}"
        self._lock = threading.Lock()
        self._checked_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether the file should be checked again."""
        return time.monotonic() - self._checked_at > _CHECK_SECONDS

    def keep(self) -> None:
        """Reserve the space, unless it is reserved.

        Raises:
            OSError: the disk is full.

        """
        with self._lock:
            if not os.path.exists(self._path):
                self._make()
            self._checked_at = time.monotonic()

    def give_up(self) -> None:
        """Release the space."""
        with self._lock:
            self._checked_at = float("-inf")
            with suppress(FileNotFoundError):
                os.unlink(self._path)

    def _make(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return
        try:
            # Random bytes, because some file systems do not allocate space for zeros.
            data = os.urandom(_RESERVE_BYTES)
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
            os.fdatasync(descriptor)
        except OSError:
            os.unlink(self._path)
            raise
        finally:
            os.close(descriptor)
