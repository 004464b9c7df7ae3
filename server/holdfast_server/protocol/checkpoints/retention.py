"""Retention: which checkpoints of a workflow may be deleted by the rules of their namespace or by their own ttl.

A checkpoint that another one needs stays as long as that one. The rules skip pinned checkpoints and treat the others as
if those did not exist; the ttl of a pinned checkpoint applies.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import inf

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast_server.layout.v1.marker_pb2 import Marker
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format.ids import revision_in
from holdfast_server.protocol.format.keys import WorkflowKeys, records_of
from holdfast_server.protocol.format.revision_set import Range
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.walks import scan


@dataclass(frozen=True, slots=True)
class Retention:
    """The rules of a namespace. A checkpoint is retired as soon as one rule allows it.

    Pinned checkpoints, and the newest one of a workflow that is not pinned, are retired by their own ttl only.

    Attributes:
        keep_last: how many of the newest checkpoints of a workflow stay, besides pinned ones; None for all.
        max_age_seconds: how long a checkpoint stays; None for ever.

    """

    keep_last: int | None = None
    max_age_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RetentionDecision:
    """The decision of retention on a workflow.

    Attributes:
        retired: the checkpoints that may be deleted, as ascending ranges, which include other entries too.
        retired_checkpoints: how many checkpoints they contain.
        newest_kept: the newest checkpoint that stays; 0 if none does.
        oldest_kept: the oldest checkpoint that stays; 0 if none does.
        claimed: the checkpoints that stay and have an id that a caller chose.
        oldest_needed: the oldest revision that the checkpoints that stay rest on; otherwise `oldest_kept`.

    """

    retired: Sequence[Range] = ()
    retired_checkpoints: int = 0
    newest_kept: int = 0
    oldest_kept: int = 0
    claimed: Sequence[int] = ()
    oldest_needed: int = 0


class Ledger:
    """The facts about each checkpoint above a floor that a collection needs, in 42 bytes, and 16 for each name.

    The names of a checkpoint are its blobs, those of the bases that it rests on and, if the workflow has records, its
    own id.

    Args:
        floor: the revision below the first entry.
        has_records: whether the workflow has records.

    """

    def __init__(self, floor: int, *, has_records: bool = False) -> None:
        # The newest revision that was added or skipped.
        self.last = floor
        self._has_records = has_records
        self._revisions = array("q")
        # When each was created and when it expires.
        self._created = array("d")
        self._expires = array("d")
        self._is_claimed = bytearray()
        self._is_pinned = bytearray()
        # The parent that it needs; 0 for none.
        self._needs = array("q")
        # The oldest base that it rests on; its own revision if there is none.
        self._oldest_base = array("q")
        # The revision by which each was replaced.
        self._replaced: dict[int, int] = {}
        # The purges, and the revisions that they name.
        self._purges: list[int] = []
        self._purged: list[Range] = []
        self._names = array("Q")
        self._naming_revisions = array("q")

    def __len__(self) -> int:
        """Return the number of checkpoints."""
        return len(self._revisions)

    def enter(self, entry: Entry) -> None:
        """Add an entry above all that were added before."""
        marker = entry.marker
        self.last = entry.revision
        if marker.purged:
            self._purges.append(entry.revision)
            self._purged += [(each.first, each.last) for each in marker.purged]
        if not entry.is_checkpoint:
            return
        self._revisions.append(entry.revision)
        self._created.append(_seconds(marker.create_time))
        self._expires.append(_seconds(marker.expire_time) if marker.HasField("expire_time") else inf)
        self._is_claimed.append(not marker.fresh_id and revision_in(marker.checkpoint_id) != entry.revision)
        self._is_pinned.append(marker.pinned)
        self._needs.append(marker.needed_revision)
        if marker.replaced_revision:
            self._replaced[marker.replaced_revision] = entry.revision
        bases = [base for part in marker.parts for base in part.bases]
        self._oldest_base.append(min((base.revision for base in bases), default=entry.revision))
        for blob in blobs_of(marker):
            self._name(blob_number(blob), entry)
        if self._has_records:
            self._name(records_number(records_of(marker.checkpoint_id)), entry)

    def _name(self, number: int, entry: Entry) -> None:
        self._names.append(number)
        self._naming_revisions.append(entry.revision)

    def pass_over(self, revision: int) -> None:
        """Skip deleted or missing entries, up to a revision."""
        self.last = revision

    async def read_up_to(self, log: Log, keys: WorkflowKeys, head: Entry) -> None:
        """Add all entries up to a head.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED: a marker is damaged; LAYOUT_UNSUPPORTED.

        """
        async for (first, last), entry in scan(log, keys, self.last + 1, head.revision - 1):
            if not isinstance(entry, HoldfastError):
                self.enter(entry)
                continue
            live = head.gone.newest_left(last)
            if live >= first and not await _was_collected(log, keys, live):
                raise entry
            self.pass_over(last)
        if self.last < head.revision:
            self.enter(head)

    def live(self, head: Entry) -> Iterator[int]:
        """Yield the checkpoints that are live according to a head, newest first."""
        return (self._revisions[index] for index in self._live(head))

    def _live(self, head: Entry) -> Iterator[int]:
        """Yield the indexes of the live checkpoints, newest first."""
        for index in range(bisect_right(self._revisions, head.revision) - 1, -1, -1):
            if not head.gone(self._revisions[index]):
                yield index

    def claimed(self, head: Entry) -> Iterator[int]:
        """Yield the live checkpoints with an id that a caller chose, newest first."""
        return (self._revisions[index] for index in self._live(head) if self._is_claimed[index])

    def unfinished_purges(self) -> Sequence[int]:
        """Return the purges, if some of the content that they name still exists; otherwise nothing."""
        for first, last in self._purged:
            index = bisect_left(self._revisions, first)
            if index < len(self) and self._revisions[index] <= last:
                return self._purges
        return ()

    def decide(self, head: Entry, retention: Retention, now: float) -> RetentionDecision:
        """Decide which checkpoints may be deleted and which stay.

        Args:
            head: the head.
            retention: the rules.
            now: the time, in seconds since the epoch.

        """
        live = array("q", self._live(head))
        stays = self._staying(live, head, retention, now)
        retired: list[Range] = []
        retired_checkpoints = newest_kept = oldest_kept = oldest_needed = 0
        claimed = array("q")
        is_run = False
        for index in live:
            revision = self._revisions[index]
            if not stays[index]:
                retired_checkpoints += 1
                retired.append((revision, retired.pop()[1] if is_run else revision))
            else:
                newest_kept, oldest_kept = newest_kept or revision, revision
                oldest_needed = min(oldest_needed or revision, self._oldest_base[index])
                if self._is_claimed[index]:
                    claimed.append(revision)
            is_run = not stays[index]
        return RetentionDecision(retired[::-1], retired_checkpoints, newest_kept, oldest_kept, claimed, oldest_needed)

    def _staying(self, live: Sequence[int], head: Entry, retention: Retention, now: float) -> bytearray:
        """Return for each index whether the checkpoint stays: by the rules, or because one that stays needs it."""
        keep_last = inf if retention.keep_last is None else retention.keep_last
        oldest = now - (inf if retention.max_age_seconds is None else retention.max_age_seconds)
        stays = bytearray(len(self))
        keeping = array("q")
        kept = 0
        for index in live:
            if self._expires[index] < now:
                continue
            if not self._is_pinned[index]:
                if kept and (kept >= keep_last or self._created[index] < oldest):
                    continue
                kept += 1
            stays[index] = True
            keeping.append(index)
        while keeping:
            needed = self._newest_of(self._needs[keeping.pop()])
            index = bisect_left(self._revisions, needed)
            is_known = index < len(self) and self._revisions[index] == needed
            if is_known and not stays[index] and not head.gone(needed):
                stays[index] = True
                keeping.append(index)
        return stays

    def _newest_of(self, revision: int) -> int:
        """Return the checkpoint that has replaced another one, directly or not; itself if none has."""
        newest = revision
        while newest in self._replaced:
            newest = self._replaced[newest]
        while revision != newest:
            # Shortens the path for the next call.
            self._replaced[revision], revision = newest, self._replaced[revision]
        return newest

    def naming(self, settled: Entry | None) -> Callable[[int], bool]:
        """Return a function that reports whether the log may need the number of a blob or of a checkpoint's records.

        Numbers that only checkpoints gone according to `settled` name are not needed.

        Args:
            settled: the head of a grace ago; None if there was none.

        """
        named = zip(self._names, self._naming_revisions, strict=True)
        if settled is None:
            numbers = array("Q", sorted(self._names))
        else:
            is_gone = settled.gone
            numbers = array("Q", sorted(number for number, revision in named if not is_gone(revision)))

        def is_named(number: int) -> bool:
            index = bisect_left(numbers, number)
            return index < len(numbers) and numbers[index] == number

        return is_named


async def _was_collected(log: Log, keys: WorkflowKeys, revision: int) -> bool:
    """Return whether a collection has overtaken this one, which must have been paused for a grace."""
    head = await log.head(keys)
    return head is not None and revision <= head.marker.floor


def records_number(owner: str) -> int:
    """Return the 64-bit number for the name that identifies a checkpoint in the keys of its records."""
    return int.from_bytes(sha256(owner.encode()).digest()[:8])


def _seconds(time: Timestamp) -> float:
    return time.seconds + time.nanos / 1e9


def blobs_of(marker: Marker) -> Iterator[str]:
    """Yield the blobs that a checkpoint needs: its own and those of its bases."""
    for part in marker.parts:
        if part.blob:
            yield part.blob
        for base in part.bases:
            if base.blob:
                yield base.blob


def blob_number(relative: str) -> int:
    """Return the 64-bit number for a blob. Two blobs with one number would only be kept longer."""
    return int(relative.rpartition("-")[2][:16], 16)
