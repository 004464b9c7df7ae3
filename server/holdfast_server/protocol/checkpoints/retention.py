"""Which checkpoints of a workflow may go by policy or by the time that their caller gave them.

What a checkpoint needs, because it is of no use without its parent, stays as long as it does. Pinned checkpoints are
passed over by the rules, which judge the others as if these were not there; their own time to live holds.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import inf

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format.ids import revision_in
from holdfast_server.protocol.format.keys import WorkflowKeys, records_of
from holdfast_server.protocol.format.revision_set import Range
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.walks import scan


@dataclass(frozen=True, slots=True)
class Retention:
    """What a namespace keeps. A checkpoint goes as soon as one rule lets it go.

    The newest checkpoint of a workflow that is not pinned goes by its own time to live only, never by these rules, and
    so does every pinned one.

    Attributes:
        keep_last: how many of the newest checkpoints of a workflow stay, beside pinned ones; None for all.
        max_age_seconds: how long a checkpoint stays; None for ever.

    """

    keep_last: int | None = None
    max_age_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RetentionDecision:
    """What retention says of a workflow.

    Attributes:
        retired: the checkpoints that may go, as ranges, which hold slots without a checkpoint too; ascending.
        retired_checkpoints: how many they are.
        newest_kept: the newest checkpoint that stays, 0 for none.
        oldest_kept: the oldest one, 0 for none.
        claimed: those that stay and have an id that a caller chose.

    """

    retired: Sequence[Range] = ()
    retired_checkpoints: int = 0
    newest_kept: int = 0
    oldest_kept: int = 0
    claimed: Sequence[int] = ()


class Ledger:
    """What the collection must know of each checkpoint above a floor: 34 bytes for it, and 16 for each name.

    Names are the blobs of a checkpoint, and where there are records the checkpoint itself.

    Args:
        floor: the slot below the first entry.
        has_records: whether records lie in the workflow.

    """

    def __init__(self, floor: int, *, has_records: bool = False) -> None:
        # The newest slot that was entered or passed over.
        self.last = floor
        self._has_records = has_records
        self._revisions = array("q")
        # When each was made and when it may go.
        self._created = array("d")
        self._expires = array("d")
        self._is_claimed = bytearray()
        self._is_pinned = bytearray()
        # The parent that it is of no use without; 0 for none.
        self._needs = array("q")
        # By which revision one was replaced.
        self._replaced: dict[int, int] = {}
        # The deletions whose content goes with them, and the slots that they name.
        self._purges: list[int] = []
        self._purged: list[Range] = []
        self._names = array("Q")
        self._naming_revisions = array("q")

    def __len__(self) -> int:
        """How many checkpoints it holds."""
        return len(self._revisions)

    def enter(self, entry: Entry) -> None:
        """Enter an entry above all that were entered before."""
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
        self._is_claimed.append(revision_in(marker.checkpoint_id) != entry.revision)
        self._is_pinned.append(marker.pinned)
        self._needs.append(marker.needed_revision)
        if marker.replaced_revision:
            self._replaced[marker.replaced_revision] = entry.revision
        for part in marker.parts:
            if part.blob:
                self._name(blob_number(part.blob), entry)
        if self._has_records:
            self._name(records_number(records_of(marker.checkpoint_id)), entry)

    def _name(self, number: int, entry: Entry) -> None:
        self._names.append(number)
        self._naming_revisions.append(entry.revision)

    def pass_over(self, revision: int) -> None:
        """Pass over slots that are gone, up to a revision."""
        self.last = revision

    async def read_up_to(self, log: Log, keys: WorkflowKeys, head: Entry) -> None:
        """Enter what follows up to a head.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED: a marker is damaged; LAYOUT_UNSUPPORTED.

        """
        async for (first, last), entry in scan(log, keys, self.last + 1, head.revision - 1):
            if not isinstance(entry, HoldfastError):
                self.enter(entry)
                continue
            left = head.gone.newest_left(last)
            if left >= first and not await _was_collected(log, keys, left):
                raise entry
            self.pass_over(last)
        if self.last < head.revision:
            self.enter(head)

    def live(self, head: Entry) -> Iterator[int]:
        """The checkpoints that exist as a head has it, newest first."""
        return (self._revisions[index] for index in self._live(head))

    def _live(self, head: Entry) -> Iterator[int]:
        """The same by their places."""
        for index in range(bisect_right(self._revisions, head.revision) - 1, -1, -1):
            if not head.gone(self._revisions[index]):
                yield index

    def claimed(self, head: Entry) -> Iterator[int]:
        """Those that exist and have an id that a caller chose, newest first."""
        return (self._revisions[index] for index in self._live(head) if self._is_claimed[index])

    def unfinished_purges(self) -> Sequence[int]:
        """The deletions whose content should be gone, where some of it is not."""
        for first, last in self._purged:
            index = bisect_left(self._revisions, first)
            if index < len(self) and self._revisions[index] <= last:
                return self._purges
        return ()

    def decide(self, head: Entry, retention: Retention, now: float) -> RetentionDecision:
        """What may go and what stays.

        Args:
            head: the head.
            retention: the rules.
            now: the time, in seconds since the epoch.

        """
        live = array("q", self._live(head))
        stays = self._staying(live, head, retention, now)
        retired: list[Range] = []
        retired_checkpoints = newest_kept = oldest_kept = 0
        claimed = array("q")
        is_run = False
        for index in live:
            revision = self._revisions[index]
            if not stays[index]:
                retired_checkpoints += 1
                retired.append((revision, retired.pop()[1] if is_run else revision))
            else:
                newest_kept, oldest_kept = newest_kept or revision, revision
                if self._is_claimed[index]:
                    claimed.append(revision)
            is_run = not stays[index]
        return RetentionDecision(retired[::-1], retired_checkpoints, newest_kept, oldest_kept, claimed)

    def _staying(self, live: Sequence[int], head: Entry, retention: Retention, now: float) -> bytearray:
        """Which stay, by their places: by the rules, or because one that stays needs them."""
        keep_last = inf if retention.keep_last is None else retention.keep_last
        oldest = now - (inf if retention.max_age_seconds is None else retention.max_age_seconds)
        stays = bytearray(len(self))
        left = array("q")
        kept = 0
        for index in live:
            if self._expires[index] < now:
                continue
            if not self._is_pinned[index]:
                if kept and (kept >= keep_last or self._created[index] < oldest):
                    continue
                kept += 1
            stays[index] = True
            left.append(index)
        while left:
            needed = self._newest_of(self._needs[left.pop()])
            index = bisect_left(self._revisions, needed)
            is_known = index < len(self) and self._revisions[index] == needed
            if is_known and not stays[index] and not head.gone(needed):
                stays[index] = True
                left.append(index)
        return stays

    def _newest_of(self, revision: int) -> int:
        """What has taken the place of a checkpoint by now; itself where nothing has."""
        newest = revision
        while newest in self._replaced:
            newest = self._replaced[newest]
        while revision != newest:
            # The next one who asks gets there at once.
            self._replaced[revision], revision = newest, self._replaced[revision]
        return newest

    def naming(self, settled: Entry | None) -> Callable[[int], bool]:
        """Tells of a blob's or records' number whether the log may need it: all but what an older head has as gone."""
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
    """Whether a collection has overtaken whoever reads, who must have stood still for a grace."""
    head = await log.head(keys)
    return head is not None and revision <= head.marker.floor


def records_number(owner: str) -> int:
    """What stands for a checkpoint in the keys of its records, as a number of 64 bits."""
    return int.from_bytes(sha256(owner.encode()).digest()[:8])


def _seconds(time: Timestamp) -> float:
    return time.seconds + time.nanos / 1e9


def blob_number(relative: str) -> int:
    """A blob as a number of 64 bits: two of one number would only be kept longer."""
    return int(relative.rpartition("-")[2][:16], 16)
