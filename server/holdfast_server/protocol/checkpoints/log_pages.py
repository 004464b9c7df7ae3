"""The entries of a log for people and consoles: newest first, of every kind, with their effect on checkpoints.

A page costs one read for each of its entries, wherever in the log it is. Collected entries and missing markers come as
ranges, because a marker may claim that billions of revisions exist. A deleted checkpoint names the entry that deleted
it, if that entry is on the page or found with few reads.
"""

import asyncio
from bisect import bisect_right, insort
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from holdfast_server.layout.v1.marker_pb2 import MarkerKind
from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.format.revision_set import Range, RevisionSet
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.walks import newest_below, read_many

_BATCH_ENTRIES = 16
# Reads of one page that only find the deletions of its checkpoints.
_MOST_PROBES = 64
# Markers that are larger than this are not read for that.
_MAX_PROBED_BYTES = 256 << 10
# The ranges of larger markers are compared in a thread, so that this does not hold up other calls.
_THREAD_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of a log, or a range of entries.

    Attributes:
        revisions: its first and last revision.
        entry: the entry; None if it was collected or is damaged.
        damage: why it cannot be read; None if it can, or was collected.
        affected: the revisions that are deleted or collected since this entry, as ranges.
        is_deleted: whether it is a checkpoint that was deleted since.
        deletion: the revision of the entry that deleted it; 0 if it was not found.

    """

    revisions: Range
    entry: Entry | None = None
    damage: HoldfastError | None = None
    affected: Sequence[Range] = ()
    is_deleted: bool = False
    deletion: int = 0

    @property
    def first(self) -> int:
        """The first revision."""
        return self.revisions[0]


async def walk_items(
    log: Log, keys: WorkflowKeys, newest: int, head: Entry | None, *, above: int, below: int, size: int
) -> AsyncGenerator[Item]:
    """Yield the items of a log between two revisions, newest first.

    Args:
        log: the log.
        keys: the workflow.
        newest: the newest revision of the log, damaged or not.
        head: the newest entry that can be read; None if there is none.
        above: items end above this revision; 0 for the oldest one.
        below: items begin below this revision.
        size: how many items the caller will take at most.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED; CHECKPOINT_CORRUPTED: the store cannot list the log.

    """
    floor = 0 if head is None else head.marker.floor
    end, revision = max(above, floor), min(newest, below - 1)
    deletions = _Deletions(log, keys, head, revision)
    known: dict[int, Entry | HoldfastError] = {} if head is None else {head.revision: head}
    while revision > end and size > 0:
        batch = range(revision, max(end, revision - min(size, _BATCH_ENTRIES)), -1)
        known = await _read(log, keys, batch, known)
        while revision > end and revision in known and size > 0:
            found, first = known[revision], revision
            if isinstance(found, MarkerGoneError):
                if await _is_collected(log, keys, revision):
                    yield Item((above + 1, revision))
                    return
                first = max(end, await newest_below(log, keys, revision)) + 1
                yield Item((first, revision), damage=MarkerGoneError(keys.marker(revision), revision, first))
            elif isinstance(found, Entry):
                yield await _item(log, keys, found, known, deletions)
            else:
                yield Item((revision, revision), damage=found)
            size -= 1
            revision = first - 1
    if size > 0 and revision > above:
        yield Item((above + 1, revision))


async def _read(
    log: Log, keys: WorkflowKeys, batch: Sequence[int], known: dict[int, Entry | HoldfastError]
) -> dict[int, Entry | HoldfastError]:
    """Return the entries of a batch, and the known ones among them without reading them again."""
    missing = [revision for revision in batch if revision not in known]
    found = dict(zip(missing, await read_many(log, keys, missing), strict=True))
    return {revision: known[revision] if revision in known else found[revision] for revision in batch}


async def _is_collected(log: Log, keys: WorkflowKeys, revision: int) -> bool:
    """Return whether a revision was collected since the head was read."""
    try:
        head = await log.head(keys)
    except HoldfastError as error:
        if error.reason is not Reason.CHECKPOINT_CORRUPTED:
            raise
        return False
    return head is None or revision <= head.marker.floor


async def _item(
    log: Log,
    keys: WorkflowKeys,
    entry: Entry,
    known: dict[int, Entry | HoldfastError],
    deletions: "_Deletions",
) -> Item:
    revisions = (entry.revision, entry.revision)
    affected = await affected_by(log, keys, entry, known)
    deletions.note(entry, affected)
    if entry.marker.kind != MarkerKind.MARKER_KIND_DATA or not deletions.has(entry.revision):
        return Item(revisions, entry, affected=affected)
    return Item(revisions, entry, affected=affected, is_deleted=True, deletion=await deletions.find(entry.revision))


async def affected_by(
    log: Log, keys: WorkflowKeys, entry: Entry, known: dict[int, Entry | HoldfastError]
) -> Sequence[Range]:
    """Return the revisions that are deleted or collected since an entry; none if the one before cannot be read.

    Args:
        log: the log.
        keys: the workflow.
        entry: the entry.
        known: entries by revision that were read before; gets the one before the entry if it is needed.

    """
    marker = entry.marker
    if marker.kind not in (MarkerKind.MARKER_KIND_DELETED, MarkerKind.MARKER_KIND_GC):
        return [(marker.replaced_revision, marker.replaced_revision)] if marker.replaced_revision else ()
    if entry.revision == 1:
        return ()
    previous = entry.revision - 1
    if previous not in known:
        known[previous] = await log.retried_reader.read_or_damage(keys, previous)
    before = known[previous]
    if not isinstance(before, Entry):
        return ()
    if entry.size_bytes > _THREAD_BYTES:
        return await asyncio.to_thread(entry.gone.without, before.gone)
    return entry.gone.without(before.gone)


class _Deletions:
    """The entries that deleted the checkpoints of a page.

    Args:
        log: the log.
        keys: the workflow.
        head: the newest entry that can be read; None if there is none.
        top: the newest revision of the page.

    """

    def __init__(self, log: Log, keys: WorkflowKeys, head: Entry | None, top: int) -> None:
        self._log = log
        self._keys = keys
        self._head = head
        self._top = top
        # Disjoint, because a revision is deleted once: first, last, and the revision of the deletion.
        self._noted: list[tuple[int, int, int]] = []
        # What is gone according to entries that were read for it; None for one that cannot be read.
        self._probed: dict[int, RevisionSet | None] = {}

    def has(self, revision: int) -> bool:
        """Return whether a revision is deleted according to the head."""
        return self._head is not None and self._head.gone(revision)

    def note(self, entry: Entry, affected: Sequence[Range]) -> None:
        """Note what an entry of the page has deleted."""
        for first, last in affected:
            insort(self._noted, (first, last, entry.revision))
        if entry.revision == self._top:
            self._probed[self._top] = entry.gone

    async def find(self, revision: int) -> int:
        """Return the revision of the entry that deleted a checkpoint; 0 if it is not found with few reads."""
        index = bisect_right(self._noted, revision, key=lambda noted: noted[0]) - 1
        if index >= 0 and revision <= self._noted[index][1]:
            return self._noted[index][2]
        head = self._head
        if head is None or head.size_bytes > _MAX_PROBED_BYTES or self._top >= head.revision:
            return 0
        top = await self._probe(self._top)
        # Otherwise a damaged entry of the page has deleted it.
        return 0 if top is None or top(revision) else await self._search(revision, self._top, head.revision)

    async def _search(self, revision: int, low: int, newest: int) -> int:
        """Search between an entry that has not deleted a revision and the head, near the former first."""
        step, high = 1, newest
        while low + step < newest:
            gone = await self._probe(low + step)
            if gone is None:
                return 0
            if gone(revision):
                high = low + step
                break
            low += step
            step *= 2
        while high - low > 1:
            middle = (low + high) // 2
            gone = await self._probe(middle)
            if gone is None:
                return 0
            low, high = (low, middle) if gone(revision) else (middle, high)
        return high

    async def _probe(self, revision: int) -> RevisionSet | None:
        if revision not in self._probed:
            if len(self._probed) > _MOST_PROBES:
                return None
            found = await self._log.retried_reader.read_or_damage(self._keys, revision)
            self._probed[revision] = found.gone if isinstance(found, Entry) else None
        return self._probed[revision]
