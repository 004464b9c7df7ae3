"""Space that a folder store reserves, so that objects can be deleted when the disk is full.

Every deletion writes first: a marker, and the pages of the database that it changes. Without room for them nothing
could be deleted on a full disk, and nothing would ever be collected. So a store has a file that holds no data. On a
full disk, an operation that frees space deletes the file. Until it can be created again, saves are refused as on a full
disk.
"""

import os
import threading
import time
from contextlib import suppress

from holdfast_server.stores.file.checkpoints import LARGEST_WAL_BYTES
from holdfast_server.stores.file.folder import RESERVE, StoreFolder

# The database may have to grow by all of the write-ahead log before any of that space can be used again.
_RESERVE_BYTES = 2 * LARGEST_WAL_BYTES
# How often to check whether another process has deleted the file.
_CHECK_SECONDS = 1.0


class Reserve:
    """The space that is reserved in a folder. Its methods block.

    Args:
        folder: the store's folder.

    """

    def __init__(self, folder: StoreFolder) -> None:
        self._folder = folder
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
            if not self._folder.has_file(RESERVE):
                self._make()
            self._checked_at = time.monotonic()

    def give_up(self) -> None:
        """Release the space.

        Raises:
            OSError: the file cannot be deleted.

        """
        with self._lock:
            self._checked_at = float("-inf")
            self._folder.remove_file(RESERVE)

    def _make(self) -> None:
        try:
            descriptor = self._folder.create_file(RESERVE)
        except FileExistsError:
            return
        try:
            os.posix_fallocate(descriptor, 0, _RESERVE_BYTES)
            os.fdatasync(descriptor)
        except OSError:
            with suppress(OSError):
                self._folder.remove_file(RESERVE)
            raise
        finally:
            os.close(descriptor)
