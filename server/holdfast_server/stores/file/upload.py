"""Uploads to a folder store: a small object becomes a row, a large one a file that a row names."""

import threading
from collections.abc import Callable
from typing import Any

from holdfast_server.stores.base import (
    NothingWrittenError,
    StoreAccessDeniedError,
    StoreUnavailableError,
    must_erase,
)
from holdfast_server.stores.file.blobs import BlobDraft, BlobFile
from holdfast_server.stores.file.errors import mapped
from holdfast_server.stores.file.folder import StoreFolder
from holdfast_server.stores.file.lane import Lane
from holdfast_server.stores.file.writer import Change, Kind

# Up to this size a row takes less time than a file with its two syncs. Above it, the bytes are not written twice.
LARGEST_ROW_BYTES = 256 << 10


class Upload:
    """An object that is being written: bytes in memory while they fit into a row, a file from then on.

    Args:
        folder: the folder of the store.
        files: the threads that work on files.
        writes: the thread that changes the database.
        key: the key of the object.

    """

    def __init__(
        self, folder: StoreFolder, files: Lane[Callable[[], Any], Any], writes: Lane[Change, bool], key: str
    ) -> None:
        self._folder = folder
        self._files = files
        self._writes = writes
        self._key = key
        self._small = bytearray()
        # Held by the thread that works on the file: a caller that was cancelled leaves its work running.
        self._lock = threading.Lock()
        self._is_closed = False
        self._draft: BlobDraft | None = None

    async def write(self, data: bytes) -> None:
        """Append bytes."""
        if self._draft is None and len(self._small) + len(data) <= LARGEST_ROW_BYTES:
            self._small += data
        else:
            await self._files.run(lambda: self._append(data))

    async def finish(self) -> None:
        """Make the object durable and visible."""
        if not await self.publish(Kind.CREATE):
            raise StoreUnavailableError("the key of an upload was already in use")

    async def publish(self, kind: Kind) -> bool:
        """Make the object visible, and return whether it is."""
        content: bytes | BlobFile = bytes(self._small)
        if self._draft is not None:
            content = await self._files.run(self._sync)
        try:
            is_visible = await self._writes.run(Change(kind, self._key, content, erases=must_erase()))
        except (NothingWrittenError, StoreAccessDeniedError):
            self._keep(False)
            raise
        self._keep(is_visible)
        return is_visible

    async def close(self) -> None:
        """Close the file, and remove it unless the object is visible or may be."""
        if self._draft is not None:
            await self._files.run(self._close)

    def _append(self, data: bytes) -> None:
        with self._lock, mapped(self._folder.path):
            if self._is_closed:
                raise StoreUnavailableError("the upload was given up")
            if self._draft is None:
                self._draft = BlobDraft(self._folder)
                self._draft.append(self._small)
            self._draft.append(data)

    def _sync(self) -> BlobFile:
        with self._lock, mapped(self._folder.path):
            assert self._draft is not None
            file = self._draft.sync()
            # Until the answer says otherwise, a row may name it.
            self._draft.is_kept = True
            return file

    def _keep(self, is_kept: bool) -> None:
        if self._draft is not None:
            self._draft.is_kept = is_kept

    def _close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._draft is not None:
                self._draft.close()
