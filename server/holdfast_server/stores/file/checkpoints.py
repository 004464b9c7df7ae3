"""Checkpoints of the write-ahead log: its pages move to the database, so that the log can begin again.

A checkpoint runs in a thread of its own while others read and write. Two rules keep that safe. Only the holder of the
folder's lock checkpoints. And it commits a transaction of its own between taking the lock and the checkpoint, so that
the log has pages that no checkpoint has moved: SQLite before 3.51.3 may lose commits if a checkpoint begins while the
log has none and another connection lets the log begin again (https://sqlite.org/wal.html#walresetbug).
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from holdfast_server.stores.base import StoreUnavailableError
from holdfast_server.stores.file.database import commit_nothing
from holdfast_server.stores.file.errors import mapped
from holdfast_server.stores.file.folder import StoreFolder

_LOG = logging.getLogger("holdfast.server")

# A larger log takes more of the disk. A smaller one is synced more often.
_WAL_BYTES = 1 << 20
# Above this the writer waits for the checkpoint, since the log can begin again only while nobody writes. The log may
# still grow by the transactions that are under way.
LARGEST_WAL_BYTES = 2 * _WAL_BYTES
_FRAME_BYTES = 4096 + 24
_ERASE_SECONDS = 5.0
_PAUSE_SECONDS = 0.001


class Checkpoints:
    """Checkpoints the database of a folder. Its methods are for the thread that writes.

    Args:
        folder: the store's folder.

    """

    def __init__(self, folder: StoreFolder) -> None:
        self._folder = folder
        self._connection: sqlite3.Connection
        self._written_bytes = 0
        # The size of the log at the last checkpoint.
        self._log_bytes = 0
        # Held, with the folder's lock, from before the commit that precedes a checkpoint to its end.
        self._is_running = threading.Lock()
        self._is_prepared = False
        self._is_urgent = False
        # True for a checkpoint, False for the end.
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def use(self, connection: sqlite3.Connection) -> None:
        """Set the connection to the database, which `close` does not close."""
        self._connection = connection

    def prepare(self) -> None:
        """Before a transaction: take the folder's lock if a checkpoint is due and no other one runs.

        If much was written since the last one began, wait for its end.
        """
        if self._written_bytes < _WAL_BYTES:
            return
        self._is_urgent = max(self._written_bytes, self._log_bytes) >= LARGEST_WAL_BYTES
        if self._is_running.acquire(blocking=self._is_urgent):
            self._is_prepared = self._folder.lock()
            if not self._is_prepared:
                self._is_running.release()

    def prepare_erasing(self) -> None:
        """Before a transaction whose deletions are to leave the log as well: wait for the folder's lock, and take it.

        Raises:
            StoreUnavailableError: another process does not release it.

        """
        self._is_running.acquire()
        if not self._folder.lock(_ERASE_SECONDS):
            self._is_running.release()
            raise StoreUnavailableError("the store is in use by another process, which does not give it free")
        self._is_prepared = True

    def abandon(self) -> None:
        """After a transaction that failed: give up the checkpoint that was prepared."""
        if self._is_prepared:
            self._release()

    def committed(self, written_bytes: int) -> None:
        """After a commit: note how much it wrote, and start the checkpoint that was prepared."""
        self._written_bytes += written_bytes
        if not self._is_prepared:
            return
        self._written_bytes = 0
        if self._is_urgent:
            self._run()
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run_each, name="holdfast-checkpoints", daemon=True)
            self._thread.start()
        # The thread releases what was prepared.
        self._is_prepared = False
        self._wake.put(True)

    def erase(self) -> None:
        """After a commit whose deletions are to leave the log: empty it, so that no earlier version of a page is left.

        Raises:
            StoreError: that failed, or another process prevents it by a long read.

        """
        ends = time.monotonic() + _ERASE_SECONDS
        try:
            with mapped(self._folder.database, may_be_written=True):
                while not self._is_emptied():
                    if time.monotonic() > ends:
                        raise StoreUnavailableError("deleted bytes cannot be erased while another process reads them")
                    time.sleep(_PAUSE_SECONDS)
                    # Each checkpoint needs a commit before it.
                    commit_nothing(self._connection)
            self._written_bytes = self._log_bytes = 0
        finally:
            self._release()

    def close(self) -> None:
        """End the thread, after the checkpoint that runs."""
        if self._thread is not None:
            self._wake.put(False)
            self._thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the checkpoint that is due or running end, and begin no other one while the block runs."""
        with self._is_running:
            yield

    def _is_emptied(self) -> bool:
        [is_blocked, _, _] = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not is_blocked

    def _run_each(self) -> None:
        while self._wake.get():
            self._run()

    def _run(self) -> None:
        try:
            [_, frames, _] = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._log_bytes = frames * _FRAME_BYTES
        except sqlite3.Error as error:
            # Nothing is lost: the pages stay in the log, and the next checkpoint moves them.
            _LOG.warning("a checkpoint of the store's database failed", extra={"error": str(error)})
        finally:
            self._release()

    def _release(self) -> None:
        self._is_prepared = False
        self._folder.unlock()
        self._is_running.release()
