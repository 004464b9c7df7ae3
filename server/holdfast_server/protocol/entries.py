"""The next marker of a log: what carries over from the head, and what the head forbids."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind, RecentEntry, RevisionRange
from holdfast_server.protocol import expected, leases
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.gone import Range
from holdfast_server.protocol.keys import WorkflowKeys
from holdfast_server.protocol.log import Entry, Log
from holdfast_server.protocol.retries import find_request

_RECENT_ENTRIES = 16


@dataclass(frozen=True, slots=True)
class Request:
    """What every request that appends to a log says of itself.

    Attributes:
        keys: the workflow.
        request_id: the idempotency key.
        epoch: the writer's epoch; None where it has none.
        first_tried: on a second or later try, when the first began, by `log.now`, or `LONG_AGO`; None on the first.
        is_silent: whether the request does not say which try it is.
        trace_id: the trace, 32 hex digits, or "".

    """

    keys: WorkflowKeys
    request_id: str
    epoch: int | None = None
    first_tried: float | None = None
    is_silent: bool = False
    trace_id: str = ""


class Replay(Exception):  # noqa: N818 - not an error: it ends an append that has already happened
    """An earlier try of the request has committed this entry."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry


async def refuse_or_replay(log: Log, head: Entry | None, request: Request, fingerprint: bytes) -> None:
    """Stop a request that has already happened, or whose epoch is not the newest one.

    Raises:
        Replay: an earlier try has committed.
        HoldfastError: REQUEST_ID_REUSED, WRITER_FENCED, INVALID_REQUEST.

    """
    earlier = None
    if head is not None:
        earlier = await find_request(
            log, request.keys, head, request.request_id, request.first_tried, is_silent=request.is_silent
        )
    if earlier is not None:
        if earlier.marker.purged_digest:
            raise HoldfastError(
                Reason.CHECKPOINT_DELETED,
                f"the checkpoint that request {request.request_id!r} saved was purged",
                checkpoint_id=earlier.marker.checkpoint_id,
                revision=earlier.revision,
            )
        if earlier.marker.request_fingerprint != fingerprint:
            raise HoldfastError(
                Reason.REQUEST_ID_REUSED,
                f"request id {request.request_id!r} belongs to revision {earlier.revision}, which has other content",
                revision=earlier.revision,
            )
        raise Replay(earlier)
    refuse_epoch(head, request)


def refuse_epoch(head: Entry | None, request: Request) -> None:
    """Refuse a request whose epoch is fenced, or was never given to a writer.

    Raises:
        HoldfastError: WRITER_FENCED, INVALID_REQUEST.

    """
    newest = 0 if head is None else head.marker.epoch
    if request.epoch is not None and request.epoch < newest:
        raise HoldfastError(
            Reason.WRITER_FENCED,
            f"epoch {request.epoch} is fenced: a newer writer has epoch {newest}",
            epoch=request.epoch,
            head_epoch=newest,
        )
    if request.epoch is not None and request.epoch > newest:
        raise HoldfastError(
            Reason.INVALID_REQUEST,
            f"epoch: {request.epoch} was never given to a writer, the newest is {newest}; AcquireWriter gives epochs",
            field="epoch",
            epoch=request.epoch,
            head_epoch=newest,
        )


def successor(head: Entry | None, request: Request, kind: MarkerKind.ValueType, fingerprint: bytes) -> Marker:
    """The marker that follows a head, with all that carries over. The caller fills in its own matter."""
    marker = Marker(
        kind=kind,
        namespace=request.keys.namespace,
        workflow_id=request.keys.workflow_id,
        revision=1,
        writer_epoch=request.epoch or 0,
        request_id=request.request_id,
        request_fingerprint=fingerprint,
        trace_id=request.trace_id,
    )
    marker.create_time.FromNanoseconds(time.time_ns())
    if head is not None:
        before = head.marker
        marker.revision = before.revision + 1
        marker.epoch = before.epoch
        marker.low_water_mark = before.low_water_mark
        marker.floor = before.floor
        marker.claim_generation = before.claim_generation
        marker.last_data_revision = before.last_data_revision
        marker.previous_data_revision = before.last_data_revision
        marker.deleted.extend(before.deleted)
        marker.previous_digest = head.digest
    expected.carry(marker, head)
    leases.carry(marker, head)
    return marker


def remember(marker: Marker, head: Entry | None, checkpoint_id: str = "") -> Marker:
    """Enter a finished marker in its own list of recent entries."""
    marker.recent.append(
        RecentEntry(revision=marker.revision, request_id=marker.request_id, checkpoint_id=checkpoint_id)
    )
    if head is not None:
        above_floor = [entry for entry in head.marker.recent if entry.revision > marker.floor]
        marker.recent.extend(above_floor[: _RECENT_ENTRIES - 1])
    return marker


def is_unborn(head: Entry) -> bool:
    """Whether nothing was ever committed: the log was begun by a collection of what unfinished saves had left."""
    return head.revision == 1 and head.marker.kind == MarkerKind.MARKER_KIND_GC


async def is_gone_by_now(
    log: Log, keys: WorkflowKeys, revision: int, head: Entry | None = None, *, first: int | None = None
) -> bool:
    """Whether a revision is deleted, or at or below the floor, as a head has it or else as it is now.

    Args:
        log: the log.
        keys: the workflow.
        revision: the revision.
        head: the head; None for that of now alone.
        first: the first of a range of which all revisions up to that one must be gone.

    """
    revisions = (revision if first is None else first, revision)
    if head is not None and head.gone.all_of(revisions):
        return True
    newest = await log.head(keys)
    return newest is None or newest.gone.all_of(revisions)


def mark_deleted(marker: Marker, more: Iterable[Range]) -> None:
    """Enter revisions below a marker into its deleted ones."""
    merged = with_deleted(marker.deleted, more)
    del marker.deleted[:]
    marker.deleted.extend(merged)


def with_deleted(ranges: Iterable[RevisionRange], more: Iterable[Range]) -> list[RevisionRange]:
    """Ranges of revisions with more in them, ascending and merged."""
    bounds = sorted([*((kept.first, kept.last) for kept in ranges), *more])
    merged = bounds[:1]
    for first, last in bounds[1:]:
        if first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return [RevisionRange(first=first, last=last) for first, last in merged]
