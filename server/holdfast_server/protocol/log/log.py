"""The commit log of a workflow: one marker for each revision, each created by one put-if-absent.

The revisions are dense, and markers are cumulative, so that the newest one, the head, describes the whole log. `Log`
finds the head, reads entries and appends. The operations in `checkpoints` decide what an entry means: they pass a
function that builds the next marker from the head, or raises if the head forbids it. Reads of many entries are in
`walks`.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial

from holdfast_server.layout.v1.marker_pb2 import Marker
from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys
from holdfast_server.protocol.format.manifest import GRACE_SECONDS
from holdfast_server.protocol.log import recent, revisions
from holdfast_server.protocol.log.append_queue import AppendQueue
from holdfast_server.protocol.log.entry import Entry, decode_entry, entry_of, name_head
from holdfast_server.protocol.log.head_cache import Head, HeadCache
from holdfast_server.protocol.log.indexed import Indexed
from holdfast_server.protocol.log.put_if_absent import put_if_absent
from holdfast_server.protocol.log.reader import Reader
from holdfast_server.protocol.log.request_index import RequestIndex
from holdfast_server.stores.base import ObjectStore, StoreError
from holdfast_server.stores.retried import RetriedStore

# A head that was read longer ago than this part of the grace is read again before anything depends on it.
_RECENT_PART = 0.1
# Reasons that do not depend on the head.
_NOT_OF_HEAD = frozenset({Reason.COMMIT_UNKNOWN, Reason.STORE_UNAVAILABLE})

Build = Callable[[Entry | None], Awaitable[Marker]]


class Log:
    """The logs of all workflows of a store, with a cache of their heads.

    Args:
        store: the store that holds the markers.
        cache_bytes: about how much memory the cached heads may take.
        grace_seconds: how long the store keeps dead objects.
        marker_version: the version of new markers and records. A log whose head has a newer one keeps that.

    Attributes:
        store: the store. A call that needs only one request leaves retries to its caller.
        retried_store: the same store with retried reads, for calls that need many.
        retried_reader: reads entries from `retried_store`.
        recent_seconds: how long a head may be used after it was read.
        requests: the request ids that were found in logs.
        indexed: how far this process has written the indexes of ids.
        followed: by workflow, a function that is called with each newest entry that this process writes or finds.

    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        cache_bytes: int = 32 << 20,
        grace_seconds: float = GRACE_SECONDS,
        marker_version: int = marker_codec.MARKER_VERSION,
    ) -> None:
        self.store = store
        self.marker_version = marker_version
        self.retried_store = RetriedStore(store)
        self.retried_reader = Reader(self.retried_store)
        self.grace_seconds = grace_seconds
        self.recent_seconds = grace_seconds * _RECENT_PART
        self.requests = RequestIndex()
        self.indexed = Indexed()
        self.heads = HeadCache(cache_bytes)
        self.followed: dict[WorkflowKeys, Callable[[Entry], None]] = {}
        self._reader = Reader(store)
        self._queue = AppendQueue()

    async def head(self, keys: WorkflowKeys) -> Entry | None:
        """Return the newest entry, checked in the store; None for an empty log.

        Takes one request if the cached head is still the newest entry.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.
            StoreError: the store cannot be used.

        """
        cached = self._cached(keys)
        if cached is None:
            return await self._find_head(keys)
        read_at = now()
        if await self._reader.is_absent(keys, cached.entry.revision + 1):
            self._keep(keys, cached.entry, read_at)
            return cached.entry
        return await self._find_head(keys)

    async def read(self, keys: WorkflowKeys, revision: int, head: Entry) -> Entry | None:
        """Return the entry of a revision; None if `head` says that it is collected or not yet written.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.
            StoreError: the store cannot be used.

        """
        if revision == head.revision:
            return head
        if not head.marker.floor < revision < head.revision:
            return None
        return await self.retried_reader.read(keys, revision)

    async def read_unbounded(self, keys: WorkflowKeys, revision: int) -> Entry | None:
        """Return the entry of a revision; None if there is none. For reads without a head that can be trusted.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.
            StoreError: the store cannot be used.

        """
        return await self._reader.read(keys, revision)

    async def read_at(self, key: str) -> Entry | None:
        """Return the entry that a key holds; None if there is none. For markers whose workflow is not known.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.
            StoreError: the store cannot be used.

        """
        return await self._reader.read_at(key)

    async def append(self, keys: WorkflowKeys, build: Build, *, deadline: float) -> Entry:
        """Append a marker to the log.

        Args:
            keys: the workflow.
            build: returns the marker that follows a head, or raises if the head forbids it. Called again with the new
                head each time that another writer takes the revision.
            deadline: when to give up, in the event loop's time.

        Returns:
            The entry that was appended.

        Raises:
            HoldfastError: COMMIT_UNKNOWN, CHECKPOINT_CORRUPTED of the head, LOG_FULL, and what `build` raises.

        """
        came_in = now()
        async with self._queue.turn(keys):
            head, read_at = await self._known(keys)
            while True:
                marker, read_at = await self._built(keys, build, head, read_at, came_in)
                revision = marker.revision
                if revision > MAX_REVISION:
                    raise HoldfastError(Reason.LOG_FULL, "the log has no revision left", revision=revision)
                key = keys.marker(revision)
                frame = marker_codec.encode(marker, key)
                found = await put_if_absent(
                    self.store,
                    key,
                    frame,
                    is_mine=partial(marker_codec.is_of, sent=frame, key=key),
                    deadline=deadline,
                )
                if not self._is_recent(read_at):
                    await self._require_counted(keys, revision)
                if found is None:
                    entry = entry_of(marker, frame)
                    self._keep(keys, entry, read_at)
                    return entry
                # The winner committed after `read_at`, but may not be the head any more.
                self._keep(keys, await self._decode(keys, revision, found), read_at)
                head, read_at = await self._known(keys)

    async def _built(
        self, keys: WorkflowKeys, build: Build, head: Entry | None, read_at: float, came_in: float
    ) -> tuple[Marker, float]:
        """Build the next marker. A refusal must be based on a head read after the call came in.

        Another server may have committed since an older head was read.
        """
        while True:
            try:
                marker = await build(head)
            except HoldfastError as error:
                if read_at >= came_in:
                    name_head(error, head)
                    raise
                if error.reason in _NOT_OF_HEAD:
                    raise
                read_at = now()
                head = await self.head(keys)
            else:
                recent.remember(marker, None if head is None else head.marker, self.marker_version)
                return marker, read_at

    def version_after(self, head: Entry | None) -> int:
        """Return the version of the marker that follows a head; None for an empty log."""
        return recent.version_after(None if head is None else head.marker, self.marker_version)

    async def known_head(self, keys: WorkflowKeys) -> Entry | None:
        """Return the cached head, or else read it; None for an empty log. It may lag behind the store."""
        return (await self._known(keys))[0]

    async def known_revision(self, keys: WorkflowKeys) -> int:
        """Return the revision of the known head; 0 for an empty log."""
        head = await self.known_head(keys)
        return 0 if head is None else head.revision

    async def newest(self, keys: WorkflowKeys) -> int | None:
        """Return the newest revision by a listing, without reading its marker; None for an empty log."""
        return await revisions.newest(self.store, keys)

    def forget(self, keys: WorkflowKeys) -> None:
        """Drop the cached head of a workflow."""
        self.heads.forget(keys)

    async def _require_counted(self, keys: WorkflowKeys, revision: int) -> None:
        """Check that a revision which was contested with an old view of the log is above today's floor.

        Below the floor the outcome cannot be known: a winner may have been collected before or after it won, and a
        loser may have won first. To append again could commit twice, and make an old state the newest one.

        Raises:
            HoldfastError: COMMIT_UNKNOWN.

        """
        try:
            head = await self._find_head(keys)
        except (StoreError, HoldfastError):
            head = None
        if head is None or not head.marker.floor < revision <= head.revision:
            raise HoldfastError(
                Reason.COMMIT_UNKNOWN, "the commit took so long that it may have been collected", revision=revision
            )

    async def _known(self, keys: WorkflowKeys) -> tuple[Entry | None, float]:
        """Return the head, cached while that is recent, and a time at which it was certainly the head."""
        cached = self._cached(keys)
        if cached is not None:
            return cached.entry, cached.read_at
        read_at = now()
        return await self._find_head(keys), read_at

    async def _find_head(self, keys: WorkflowKeys) -> Entry | None:
        collected = None
        while True:
            # Taken before the requests: a process may be paused for any time after them.
            read_at = now()
            revision = await self.newest(keys)
            if revision is None:
                self.forget(keys)
                return None
            entry = await self._reader.read(keys, revision)
            if entry is not None:
                self._keep(keys, entry, read_at)
                return entry
            # It was collected after the listing, so that a newer one exists. If it is listed again, it is damaged.
            if revision == collected:
                raise MarkerGoneError(keys.marker(revision), revision)
            collected = revision

    async def _decode(self, keys: WorkflowKeys, revision: int, frame: bytes) -> Entry:
        try:
            return await decode_entry(keys.marker(revision), frame)
        except HoldfastError as error:
            error.metadata["revision"] = str(revision)
            raise

    def _cached(self, keys: WorkflowKeys) -> Head | None:
        head = self.heads.get(keys)
        if head is None or not self._is_recent(head.read_at):
            return None
        self.heads.touch(keys)
        return head

    def _keep(self, keys: WorkflowKeys, entry: Entry, read_at: float) -> None:
        self.heads.keep(keys, Head(entry, read_at))
        hear = self.followed.get(keys)
        if hear is not None:
            hear(entry)

    def _is_recent(self, read_at: float) -> bool:
        return now() - read_at < self.recent_seconds


def now() -> float:
    """Return the time in seconds, by a clock of this machine that counts suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
