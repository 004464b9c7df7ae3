"""The commit log of a workflow: dense slots, each won by one put-if-absent, the newest telling all.

The log knows how to find the head, read a slot and append to it. What an entry means is for
`save`, `fence` and `delete` to say: they give a function that builds the next marker from the head
and refuses where the head forbids it.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys
from holdfast_server.protocol.format.manifest import GRACE_SECONDS
from holdfast_server.protocol.format.revision_set import Range, RevisionSet
from holdfast_server.protocol.log import revisions
from holdfast_server.protocol.log.append_queue import TurnOf, Turns
from holdfast_server.protocol.log.put_if_absent import put_if_absent
from holdfast_server.protocol.log.request_index import SeenRequests
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, StoreError
from holdfast_server.stores.retried import retried

# A head that was read longer ago, as a part of the grace, is looked at again before anything rests on it.
_RECENT_PART = 0.1
_SCAN_ENTRIES = 64
# What a marker takes in memory beyond its bytes: the library's arena and the objects around it, and of what repeats
# and of each label a message of its own. Measured: tests/unit/server/protocol/test_cache.py.
_HEAD_BYTES = 4_000
_REPEATED_BYTES = 70
_LABEL_BYTES = 200
# A marker of more bytes is taken apart in a thread.
_THREAD_BYTES = 64 << 10
# What tells nothing of the head.
_NO_REFUSALS = frozenset({Reason.COMMIT_UNKNOWN, Reason.STORE_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Entry:
    """A slot of the log: its marker, and the digest of the frame that it was read from."""

    marker: Marker
    digest: bytes
    size_bytes: int
    _gone: RevisionSet | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def gone(self) -> RevisionSet:
        """The revisions that are gone, as this marker has it."""
        if self._gone is None:
            # Kept: it takes a step for each range, and heads are asked again and again.
            object.__setattr__(self, "_gone", RevisionSet.of(self.marker))
        assert self._gone is not None
        return self._gone

    @property
    def revision(self) -> int:
        """The slot."""
        return self.marker.revision

    @property
    def is_checkpoint(self) -> bool:
        """Whether it holds a checkpoint, whose content was not purged."""
        return self.marker.kind == MarkerKind.MARKER_KIND_DATA and not self.marker.purged_digest

    @property
    def keys(self) -> WorkflowKeys:
        """The workflow, by its true names."""
        return WorkflowKeys(self.marker.namespace, self.marker.workflow_id)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry as it was at `read_at` or later, by a clock that counts suspend."""

    entry: Entry
    read_at: float

    @property
    def held_bytes(self) -> int:
        """About how much memory it takes."""
        marker = self.entry.marker
        repeated = len(marker.deleted) + len(marker.recent) + len(marker.parts)
        return (
            _HEAD_BYTES
            + self.entry.size_bytes * 6 // 5
            + repeated * _REPEATED_BYTES
            + len(marker.labels) * _LABEL_BYTES
            + 4 * (len(marker.namespace) + len(marker.workflow_id))
        )


Build = Callable[[Entry | None], Awaitable[Marker]]


class Log:
    """The logs of all workflows of a store, with a cache of their heads and markers.

    Args:
        store: where the markers lie.
        cache_bytes: how much memory the markers that are kept may take, about.
        grace_seconds: how long what is dead stays in the store before it is collected.

    """

    def __init__(
        self, store: ObjectStore, *, cache_bytes: int = 32 << 20, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self.store = store
        self.grace_seconds = grace_seconds
        self.recent_seconds = grace_seconds * _RECENT_PART
        self._heads: OrderedDict[WorkflowKeys, Head] = OrderedDict()
        self._cached_bytes = 0
        self._cache_bytes = cache_bytes
        self._turns: Turns = {}
        self.seen = SeenRequests()

    async def head(self, keys: WorkflowKeys) -> Entry | None:
        """The newest entry, read from the store: one request while the cached head is still the head."""
        cached = self._cached(keys)
        if cached is None:
            return await self._find_head(keys)
        read_at = now()
        if isinstance(await self._read_or_damage(keys, cached.revision + 1), MarkerGoneError):
            self._keep(keys, cached, read_at)
            return cached
        return await self._find_head(keys)

    async def read(self, keys: WorkflowKeys, revision: int, head: Entry) -> Entry | None:
        """A slot, as the head has it; None where it does not exist.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.

        """
        if revision == head.revision:
            return head
        if not head.marker.floor < revision < head.revision:
            return None
        return await retried(lambda: self._read(keys, revision))

    async def read_unbounded(self, keys: WorkflowKeys, revision: int) -> Entry | None:
        """A slot, where no head is there to tell whether it exists: only for what lies below a damaged head."""
        return await self._read(keys, revision)

    async def walk_back(
        self, keys: WorkflowKeys, head: Entry, down_to: int
    ) -> AsyncIterator[tuple[Range, Entry | HoldfastError]]:
        """The slots from the head down to one, that one left out; what is damaged as its error.

        Slots that hold nothing come as one range: how many there are, only a marker says.

        Raises:
            HoldfastError: LAYOUT_UNSUPPORTED.

        """
        end, revision = max(down_to, head.marker.floor), head.revision
        while revision > end:
            found = head if revision == head.revision else await self._read_one_of_many(keys, revision)
            first = revision
            if isinstance(found, MarkerGoneError):
                first = max(end, await self.newest_below(keys, revision)) + 1
                found = MarkerGoneError(keys.marker(revision), revision, first)
            yield (first, revision), found
            revision = first - 1

    async def newest_below(self, keys: WorkflowKeys, revision: int) -> int:
        """The newest slot below another one that holds something, by a listing; 0 for none."""
        return await retried(lambda: revisions.newest(self.store, keys, revision)) or 0

    async def scan(
        self, keys: WorkflowKeys, first: int, last: int
    ) -> AsyncIterator[tuple[Range, Entry | HoldfastError]]:
        """The slots of a closed range, oldest first, read several at a time; what is damaged or gone as its error.

        Slots in a row that hold nothing come as one range. Where they are many, the others are found by a listing.

        Raises:
            HoldfastError: LAYOUT_UNSUPPORTED.

        """
        begin = first
        while first <= last:
            batch: Sequence[int] = range(first, min(first + _SCAN_ENTRIES, last + 1))
            found = await self._read_many(keys, batch)
            if batch[-1] < last and all(isinstance(each, MarkerGoneError) for each in found):
                break
            for revision, each in zip(batch, found, strict=True):
                if isinstance(each, MarkerGoneError):
                    continue
                if begin < revision:
                    yield _gone(keys, begin, revision - 1)
                yield (revision, revision), each
                begin = revision + 1
            first = batch[-1] + 1
        listed = await retried(lambda: revisions.between(self.store, keys, first, last)) if first <= last else ()
        for start in range(0, len(listed), _SCAN_ENTRIES):
            batch = listed[start : start + _SCAN_ENTRIES]
            for revision, each in zip(batch, await self._read_many(keys, batch), strict=True):
                if begin < revision:
                    yield _gone(keys, begin, revision - 1)
                yield (revision, revision), each
                begin = revision + 1
        if begin <= last:
            yield _gone(keys, begin, last)

    async def _read_many(self, keys: WorkflowKeys, batch: Sequence[int]) -> Sequence[Entry | HoldfastError]:
        return await asyncio.gather(*(self._read_one_of_many(keys, revision) for revision in batch))

    async def append(self, keys: WorkflowKeys, build: Build, *, deadline: float) -> Entry:
        """Append a marker to the log.

        Args:
            keys: the workflow.
            build: makes the marker that follows a head, or raises what forbids it. Called again with
                the new head each time that a slot is lost.
            deadline: until when, in the event loop's time.

        Raises:
            HoldfastError: COMMIT_UNKNOWN, CHECKPOINT_CORRUPTED of the head, LOG_FULL, and
                whatever `build` raises.

        """
        came_in = now()
        async with TurnOf(self._turns, keys):
            head, read_at = await self._known(keys)
            while True:
                marker, read_at = await self._built(keys, build, head, read_at, came_in)
                revision = marker.revision
                if revision > MAX_REVISION:
                    raise HoldfastError(Reason.LOG_FULL, "the log has no slot left", revision=revision)
                frame = marker_codec.encode(marker)
                found = await put_if_absent(
                    self.store,
                    keys.marker(revision),
                    frame,
                    is_mine=lambda data, sent=frame: marker_codec.is_of(data, sent),  # type: ignore[misc]
                    deadline=deadline,
                )
                if not self._is_recent(read_at):
                    await self._require_counted(keys, revision)
                if found is None:
                    entry = _entry(marker, frame)
                    self._keep(keys, entry, read_at)
                    return entry
                # Whoever won the slot did so since `read_at`; whether that is still the head, only time can tell.
                self._keep(keys, await self._decode(keys, revision, found), read_at)
                head, read_at = await self._known(keys)

    async def _built(
        self, keys: WorkflowKeys, build: Build, head: Entry | None, read_at: float, came_in: float
    ) -> tuple[Marker, float]:
        """The next marker. What forbids it must stand in a head read since: another server may have moved on."""
        while True:
            try:
                return await build(head), read_at
            except HoldfastError as error:
                if read_at >= came_in or error.reason in _NO_REFUSALS:
                    raise
                read_at = now()
                head = await self.head(keys)

    async def read_at(self, key: str) -> Entry | None:
        """The entry with a key, where only that is known; None where there is none.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.

        """
        try:
            frame = await read_whole(self.store, key)
        except ObjectNotFoundError:
            return None
        return await _entry_at(key, frame)

    async def known_head(self, keys: WorkflowKeys) -> Entry | None:
        """The head, from the cache where it is known; None for an empty log. It may lag behind."""
        return (await self._known(keys))[0]

    async def known_revision(self, keys: WorkflowKeys) -> int:
        """The revision of the known head; 0 for an empty log."""
        head = await self.known_head(keys)
        return 0 if head is None else head.revision

    async def newest(self, keys: WorkflowKeys) -> int | None:
        """The newest slot by a listing, without reading it; None where the log is empty."""
        return await revisions.newest(self.store, keys)

    def forget(self, keys: WorkflowKeys) -> None:
        """Drop what is cached of a workflow."""
        head = self._heads.pop(keys, None)
        if head is not None:
            self._cached_bytes -= head.held_bytes

    async def _require_counted(self, keys: WorkflowKeys, revision: int) -> None:
        """Check that a slot that was won or lost on an old view of the log lies above the floor of the log of today.

        Below it there is no telling: the slot may have been collected before it was won, or long after; who lost it
        may have won it before. To append again could commit twice, and bring an old state back as the newest.
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
        """The head, from the cache while that is recent, and when it was the head for sure."""
        cached = self._cached(keys)
        if cached is not None:
            return cached, self._heads[keys].read_at
        read_at = now()
        return await self._find_head(keys), read_at

    async def _find_head(self, keys: WorkflowKeys) -> Entry | None:
        collected = None
        while True:
            # Before the requests: a process may be paused for as long as it likes behind them.
            read_at = now()
            revision = await self.newest(keys)
            if revision is None:
                self.forget(keys)
                return None
            entry = await self._read(keys, revision)
            if entry is not None:
                self._keep(keys, entry, read_at)
                return entry
            # Collected between the listing and the read, so a newer one exists; else it can be listed but not read.
            if revision == collected:
                raise MarkerGoneError(keys.marker(revision), revision)
            collected = revision

    async def _read(self, keys: WorkflowKeys, revision: int) -> Entry | None:
        if not 0 < revision <= MAX_REVISION:
            return None
        try:
            frame = await read_whole(self.store, keys.marker(revision))
        except ObjectNotFoundError:
            return None
        return await self._decode(keys, revision, frame)

    async def _read_one_of_many(self, keys: WorkflowKeys, revision: int) -> Entry | HoldfastError:
        return await retried(lambda: self._read_or_damage(keys, revision))

    async def _read_or_damage(self, keys: WorkflowKeys, revision: int) -> Entry | HoldfastError:
        try:
            entry = await self._read(keys, revision)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            return error
        return MarkerGoneError(keys.marker(revision), revision) if entry is None else entry

    async def _decode(self, keys: WorkflowKeys, revision: int, frame: bytes) -> Entry:
        try:
            return await _entry_at(keys.marker(revision), frame)
        except HoldfastError as error:
            error.metadata["revision"] = str(revision)
            raise

    def _cached(self, keys: WorkflowKeys) -> Entry | None:
        head = self._heads.get(keys)
        if head is None or not self._is_recent(head.read_at):
            return None
        self._heads.move_to_end(keys)
        return head.entry

    def _keep(self, keys: WorkflowKeys, entry: Entry, read_at: float) -> None:
        self.forget(keys)
        self._heads[keys] = head = Head(entry, read_at)
        self._cached_bytes += head.held_bytes
        while self._cached_bytes > self._cache_bytes and len(self._heads) > 1:
            self.forget(next(iter(self._heads)))

    def _is_recent(self, read_at: float) -> bool:
        return now() - read_at < self.recent_seconds


def _gone(keys: WorkflowKeys, first: int, last: int) -> tuple[Range, MarkerGoneError]:
    return (first, last), MarkerGoneError(keys.marker(last), last, first)


def digest_of(frame: bytes) -> bytes:
    """What the next marker says of this one."""
    return sha256(frame).digest()


async def _entry_at(key: str, frame: bytes) -> Entry:
    """The entry in a frame, taken apart in a thread where that would hold up others."""
    return await asyncio.to_thread(_decode, key, frame) if len(frame) > _THREAD_BYTES else _decode(key, frame)


def _decode(key: str, frame: bytes) -> Entry:
    entry = _entry(_of_place(marker_codec.decode(frame, key), key), frame)
    # Built here, where it may take its time.
    _ = entry.gone
    return entry


def _of_place(marker: Marker, key: str) -> Marker:
    """A marker that lies where it belongs."""
    if WorkflowKeys(marker.namespace, marker.workflow_id).marker(marker.revision) != key:
        raise HoldfastError(Reason.CHECKPOINT_CORRUPTED, "a commit marker names another place", key=key)
    return marker


def _entry(marker: Marker, frame: bytes) -> Entry:
    # The next marker was written behind what lay here before a purge.
    return Entry(marker, marker.purged_digest or digest_of(frame), len(frame))


def now() -> float:
    """The time in seconds, by a clock of this machine that counts suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
