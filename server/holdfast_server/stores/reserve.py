"""Space that a folder store keeps back, so that a full disk has a way out.

Every deletion writes a small marker first. Without room for it nothing could be deleted on a full disk, and nothing
would ever be collected. So a store holds a file of a megabyte that nobody reads. What frees space gives the file up
when the disk is full; until it can be made again, saves are refused as they are on a full disk.
"""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

RESERVE_FILE = ".reserve"
_BYTES = 1 << 20
# Another process may have given the file up: how often to look.
_LOOK_SECONDS = 1.0


class Reserve:
    """The space that is kept back in a folder. Its methods block.

    Args:
        root: the store's folder.

    """

    def __init__(self, root: Path) -> None:
        self._path = f"{root}/{RESERVE_FILE}"
        self._lock = threading.Lock()
        self._seen_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether nobody has looked for a while whether the space is still kept back."""
        return time.monotonic() - self._seen_at > _LOOK_SECONDS

    def keep(self) -> None:
        """Keep space back, unless that is done.

        Raises:
            OSError: there is none.

        """
        with self._lock:
            if not os.path.exists(self._path):
                self._make()
            self._seen_at = time.monotonic()

    def give_up(self) -> None:
        """Give the space up."""
        with self._lock:
            self._seen_at = float("-inf")
            with suppress(FileNotFoundError):
                os.unlink(self._path)

    def _make(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return
        try:
            # Random, since some file systems take no space for zeros.
            data = os.urandom(_BYTES)
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
            os.fdatasync(descriptor)
        except OSError:
            os.unlink(self._path)
            raise
        finally:
            os.close(descriptor)
