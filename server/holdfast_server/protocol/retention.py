"""Which checkpoints of a workflow may go by policy or by the time that their caller gave them."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isnan, nan

from holdfast_server.protocol import entries
from holdfast_server.protocol.log import Entry
from holdfast_server.protocol.save import told_revision
from holdfast_server.storage.v1.marker_pb2 import MarkerKind


@dataclass(frozen=True, slots=True)
class Retention:
    """What a namespace keeps. A checkpoint goes as soon as one rule lets it go.

    The newest checkpoint of a workflow goes by its own time to live only, never by these rules.

    Attributes:
        keep_last: how many of the newest checkpoints of a workflow stay; None for all.
        max_age_seconds: how long a checkpoint stays; None for ever.

    """

    keep_last: int | None = None
    max_age_seconds: float | None = None


class Ledger:
    """What the collection must know of every entry above a floor, in a few bytes for each.

    Args:
        floor: the slot below the first entry.

    """

    def __init__(self, floor: int) -> None:
        self._floor = floor
        # Of a checkpoint when it was made and when it may go; not a number where the slot holds none.
        self._created = array("d")
        self._expires = array("d")
        self._blobs = array("Q")
        self._blob_revisions = array("q")
        self.chosen_ids: dict[int, str] = {}

    @property
    def last(self) -> int:
        """The newest slot that was entered."""
        return self._floor + len(self._created)

    def enter(self, entry: Entry | None) -> None:
        """Enter the next slot; None where it is gone."""
        if entry is None or entry.marker.kind != MarkerKind.MARKER_KIND_DATA:
            self._created.append(nan)
            self._expires.append(nan)
            return
        marker = entry.marker
        self._created.append(marker.create_time.ToNanoseconds() / 1e9)
        self._expires.append(marker.expire_time.ToNanoseconds() / 1e9 if marker.HasField("expire_time") else inf)
        if told_revision(marker.checkpoint_id) != entry.revision:
            self.chosen_ids[entry.revision] = marker.checkpoint_id
        for part in marker.parts:
            if part.blob:
                self._blobs.append(blob_number(part.blob))
                self._blob_revisions.append(entry.revision)

    def live(self, head: Entry) -> Iterator[int]:
        """The checkpoints that exist as a head has it, newest first."""
        is_gone = entries.gone(head)
        for revision in range(min(head.revision, self.last), max(head.marker.floor, self._floor), -1):
            if not isnan(self._created[revision - self._floor - 1]) and not is_gone(revision):
                yield revision

    def retired(self, head: Entry, retention: Retention, now: float) -> list[int]:
        """The checkpoints that may go, newest first.

        Args:
            head: the head.
            retention: the rules.
            now: the time, in seconds since the epoch.

        """
        keep_last = inf if retention.keep_last is None else retention.keep_last
        oldest = now - (inf if retention.max_age_seconds is None else retention.max_age_seconds)
        gone: list[int] = []
        kept = 0
        for revision in self.live(head):
            index = revision - self._floor - 1
            by_rule = kept >= 1 and (kept >= keep_last or self._created[index] < oldest)
            if by_rule or self._expires[index] < now:
                gone.append(revision)
            else:
                kept += 1
        return gone

    def blobs_named(self, settled: Entry | None) -> set[int]:
        """The numbers of the blobs that the log may still need: all but those of what an older head has as gone."""
        named = zip(self._blobs, self._blob_revisions, strict=True)
        if settled is None:
            return {number for number, _ in named}
        is_gone = entries.gone(settled)
        return {number for number, revision in named if not is_gone(revision)}


def blob_number(relative: str) -> int:
    """A blob as a number of 64 bits: two of one number would only be kept longer."""
    return int(relative.rpartition("-")[2][:16], 16)
