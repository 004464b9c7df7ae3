"""One page of a workflow's log as rows: each entry in words, with the lineage of the checkpoints beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from holdfast import AsyncClient, Checkpoint, LogEntry, UnimplementedError

from holdfast_server.console.lineage import Drawing, Item, Parent, drawing_of, places_of
from holdfast_server.console.preview.sealed import is_sealed, own_labels

ROWS = 50
_KINDS = {
    "checkpoint": ("info", "checkpoint"),
    "fence": ("warn", "writer"),
    "deletion": ("muted", "deletion"),
    "workflow_deletion": ("bad", "deletion"),
    "collection": ("muted", "collection"),
    "collected": ("muted", "collected"),
    "damaged": ("bad", "damaged"),
}
_MAX_RANGES = 6
_SHOWN_LABELS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """An entry of the log.

    Attributes:
        entry: the entry.
        drawing: its part of the lineage.
        parent: where the parent of its checkpoint is.

    """

    entry: LogEntry
    drawing: Drawing
    parent: Parent

    @property
    def badge(self) -> tuple[str, str]:
        """The kind of its badge, and the text."""
        return _KINDS.get(self.entry.kind, ("muted", self.entry.kind))

    @property
    def revisions(self) -> str:
        """Its revision, or the range of revisions."""
        return ranges_text([(self.entry.first_revision, self.entry.revision)])

    @property
    def is_encrypted(self) -> bool:
        """Whether a client has encrypted its checkpoint."""
        return self.entry.checkpoint is not None and is_sealed(self.entry.checkpoint.labels)

    @property
    def labels(self) -> Sequence[tuple[str, str]]:
        """The first labels of its checkpoint."""
        return self._labels[:_SHOWN_LABELS]

    @property
    def more_labels(self) -> int:
        """How many further labels it has."""
        return len(self._labels[_SHOWN_LABELS:])

    @property
    def _labels(self) -> Sequence[tuple[str, str]]:
        return () if self.entry.checkpoint is None else list(own_labels(self.entry.checkpoint.labels).items())

    @property
    def affected(self) -> str:
        """The revisions that it deleted, in words; "" if none is known."""
        shown = ranges_text(self.entry.affected[:_MAX_RANGES])
        more = len(self.entry.affected[_MAX_RANGES:]) + self.entry.more_affected
        return f"{shown} and {more} more ranges" if more else shown

    @property
    def affected_text(self) -> str:
        """The same with its noun, such as "revision 3"."""
        is_one = not self.entry.more_affected and [*self.entry.affected] == [(self.entry.affected[0][0],) * 2]
        return f"{'revision' if is_one else 'revisions'} {self.affected}"


@dataclass(frozen=True, slots=True)
class WriterRow:
    """A writer of which the page has entries.

    Attributes:
        epoch: its epoch; 0 for saves without one.
        holder: the name of the lease's holder; "" if it is not known.
        since: when its epoch was given; None if that is on another page.
        revision: the revision of its fence; 0 if that is on another page.
        checkpoints: how many checkpoints of it the page has.

    """

    epoch: int
    holder: str
    since: datetime | None
    revision: int
    checkpoints: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """A page of a log.

    Attributes:
        rows: its entries, newest first.
        next_page_token: the token of the next page; "" on the last one.
        is_whole_log: whether all kinds of entries are shown. Older servers list the checkpoints only.

    """

    rows: Sequence[Row]
    next_page_token: str
    is_whole_log: bool

    @property
    def newest(self) -> LogEntry | None:
        """The newest entry of the page; None if it has none."""
        return self.rows[0].entry if self.rows else None

    @property
    def damaged(self) -> int:
        """How many of the entries are damaged."""
        return sum(row.entry.kind == "damaged" for row in self.rows)

    @property
    def writers(self) -> Sequence[WriterRow]:
        """The writers of the page's entries, newest first."""
        fences = {row.entry.epoch: row.entry for row in self.rows if row.entry.kind == "fence"}
        saved: dict[int, int] = {}
        for row in self.rows:
            if row.entry.checkpoint is not None:
                epoch = row.entry.checkpoint.epoch
                saved[epoch] = saved.get(epoch, 0) + 1
        return [
            WriterRow(
                epoch,
                fences[epoch].holder if epoch in fences else "",
                fences[epoch].created if epoch in fences else None,
                fences[epoch].revision if epoch in fences else 0,
                saved.get(epoch, 0),
            )
            for epoch in sorted({*fences, *saved}, reverse=True)
        ]


async def read_timeline(client: AsyncClient, namespace: str, workflow_id: str, page_token: str = "") -> Timeline:
    """Return a page of a log.

    Args:
        client: the client.
        namespace: the namespace.
        workflow_id: the workflow.
        page_token: the token of the page; "" for the first one.

    Raises:
        HoldfastError: a subclass for each reason.

    """
    try:
        page = await client.log_page(namespace, workflow_id, page_size=ROWS, page_token=page_token)
    except UnimplementedError:
        entries, token = await _checkpoints(client, namespace, workflow_id, page_token)
        return _timeline(entries, token, is_whole_log=False)
    return _timeline(page.items, page.next_page_token, is_whole_log=True)


async def _checkpoints(
    client: AsyncClient, namespace: str, workflow_id: str, before: str
) -> tuple[Sequence[LogEntry], str]:
    """Return a page of checkpoints as entries, from an older server. Its token is the id of a checkpoint."""
    found: list[Checkpoint] = []
    async for checkpoint in client.list(namespace, workflow_id, before=before, page_size=ROWS + 1):
        found.append(checkpoint)
        if len(found) > ROWS:
            break
    entries = [
        LogEntry(
            each.revision,
            "checkpoint",
            each.revision,
            each.created,
            epoch=each.epoch,
            request_id=each.request_id,
            trace_id=each.trace_id,
            principal=each.principal,
            checkpoint=each,
        )
        for each in found[:ROWS]
    ]
    return entries, found[ROWS - 1].checkpoint_id if len(found) > ROWS else ""


def _timeline(entries: Sequence[LogEntry], next_page_token: str, *, is_whole_log: bool) -> Timeline:
    items = [
        Item("") if entry.checkpoint is None else Item(entry.checkpoint.checkpoint_id, entry.checkpoint.parent_id)
        for entry in entries
    ]
    places = places_of(items, is_last_page=not next_page_token)
    width = max((place.width for place in places), default=0)
    rows = [Row(entry, drawing_of(place, width), place.parent) for entry, place in zip(entries, places, strict=True)]
    return Timeline(rows, next_page_token, is_whole_log)


def ranges_text(ranges: Sequence[tuple[int, int]]) -> str:
    """Return ranges of revisions as text, such as "3, 5-7"."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
