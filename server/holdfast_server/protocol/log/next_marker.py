"""The next marker of a log, with everything that carries over from the head."""

import time
from collections.abc import Iterable

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind, RevisionRange
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.format.revision_set import Range
from holdfast_server.protocol.log import compare_and_set, leases
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log


def successor(head: Entry | None, request: Request, kind: MarkerKind.ValueType, fingerprint: bytes) -> Marker:
    """Return the marker that follows a head, with all fields that carry over but the recent entries.

    The caller fills in the others, and the log the recent entries.

    Args:
        head: the head; None for an empty log.
        request: the request that appends the marker.
        kind: what the entry is.
        fingerprint: the digest of the request's content, by which a reused request id is recognised.

    """
    marker = Marker(
        kind=kind,
        namespace=request.keys.namespace,
        workflow_id=request.keys.workflow_id,
        revision=1,
        writer_epoch=request.epoch or 0,
        request_id=request.request_id,
        request_fingerprint=fingerprint,
        trace_id=request.origin.trace_id,
        principal=request.origin.principal,
    )
    marker.create_time.FromNanoseconds(time.time_ns())
    if head is not None:
        before = head.marker
        marker.revision = before.revision + 1
        marker.epoch = before.epoch
        marker.low_water_mark = before.low_water_mark
        marker.floor = before.floor
        marker.base_floor = before.base_floor
        marker.claim_generation = before.claim_generation
        marker.last_data_revision = before.last_data_revision
        marker.previous_data_revision = before.last_data_revision
        if before.last_fresh_revision > before.floor:
            marker.last_fresh_revision = before.last_fresh_revision
            marker.indexed_from = before.indexed_from
            marker.indexed_to = before.indexed_to
        marker.deleted.extend(before.deleted)
        marker.previous_digest = head.digest
    compare_and_set.carry(marker, head)
    leases.carry(marker, head)
    return marker


def is_unborn(head: Entry) -> bool:
    """Return whether nothing was ever committed: a collection of the remains of unfinished saves began the log."""
    return head.revision == 1 and head.marker.kind == MarkerKind.MARKER_KIND_GC


async def is_gone_by_now(
    log: Log, keys: WorkflowKeys, revision: int, head: Entry | None = None, *, first: int | None = None
) -> bool:
    """Return whether a revision is deleted, or at or below the floor, according to `head` or to the current head.

    Args:
        log: the log.
        keys: the workflow.
        revision: the revision.
        head: a head to try first; None to read the current one at once.
        first: the first revision of a range up to `revision`, all of which must be gone.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED of the current head, LAYOUT_UNSUPPORTED.

    """
    revisions = (revision if first is None else first, revision)
    if head is not None and head.gone.all_of(revisions):
        return True
    newest = await log.head(keys)
    return newest is None or newest.gone.all_of(revisions)


def mark_deleted(marker: Marker, more: Iterable[Range]) -> None:
    """Add revisions below a marker to its deleted ones."""
    merged = with_deleted(marker.deleted, more)
    del marker.deleted[:]
    marker.deleted.extend(merged)


def with_deleted(ranges: Iterable[RevisionRange], more: Iterable[Range]) -> list[RevisionRange]:
    """Return some ranges of revisions together with more ranges, ascending and merged."""
    bounds = sorted([*((kept.first, kept.last) for kept in ranges), *more])
    merged = bounds[:1]
    for first, last in bounds[1:]:
        if first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return [RevisionRange(first=first, last=last) for first, last in merged]
