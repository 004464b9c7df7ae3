"""Entries without a payload: the fence of a new writer, and deletions."""

from dataclasses import dataclass
from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.protocol import entries, expected, leases
from holdfast_server.protocol.entries import Replay, Request
from holdfast_server.protocol.leases import Lease
from holdfast_server.protocol.log import Build, Entry, Log
from holdfast_server.protocol.lookup import find_by_id, newest_live, no_workflow

_NO_LEASE = Lease()


@dataclass(frozen=True, slots=True)
class Appended:
    """The committed entry, and whether an earlier try had committed it."""

    entry: Entry
    replayed: bool


async def acquire_writer(
    log: Log, request: Request, *, expected_revision: int | None = None, lease: Lease = _NO_LEASE, deadline: float
) -> Appended:
    """Append a fence with the next epoch: saves with a lower one lose from then on.

    Args:
        log: the log.
        request: who asks.
        expected_revision: the revision since which nothing may stand against the fence, as of a save; None for any.
        lease: the lease that is asked for.
        deadline: until when, in the event loop's time.

    Raises:
        HoldfastError: REVISION_CONFLICT, LEASE_HELD, COMMIT_UNKNOWN, REQUEST_ID_REUSED.

    """
    fingerprint = sha256(b"fence").digest()

    async def build(head: Entry | None) -> Marker:
        await entries.refuse_or_replay(log, head, request, fingerprint)
        expected.require(head, expected_revision, None)
        marker = entries.successor(head, request, MarkerKind.MARKER_KIND_FENCE, fingerprint)
        if not lease.force:
            leases.refuse_held(head, marker.create_time)
        marker.epoch += 1
        marker.writer_epoch = marker.epoch
        expected.enter_fence(marker)
        leases.grant(marker, lease)
        return entries.remember(marker, head)

    return await append(log, request, build, deadline)


async def require_unfenced(log: Log, request: Request) -> None:
    """Check, for a request that commits nothing, that the writer's epoch is the newest one by now.

    Raises:
        HoldfastError: WRITER_FENCED, INVALID_REQUEST.

    """
    if request.epoch is not None:
        entries.refuse_epoch(await log.head(request.keys), request)


async def delete(log: Log, request: Request, checkpoint_id: str, *, deadline: float) -> Appended:
    """Append the deletion of one checkpoint.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, CHECKPOINT_NOT_FOUND, CHECKPOINT_DELETED, WRITER_FENCED,
            REQUEST_ID_REUSED, COMMIT_UNKNOWN.

    """
    fingerprint = sha256(b"delete\0" + checkpoint_id.encode()).digest()

    async def build(head: Entry | None) -> Marker:
        if head is None:
            raise no_workflow(request.keys)
        await entries.refuse_or_replay(log, head, request, fingerprint)
        target = await find_by_id(log, request.keys, head, checkpoint_id)
        marker = entries.successor(head, request, MarkerKind.MARKER_KIND_DELETED, fingerprint)
        marker.checkpoint_id = checkpoint_id
        entries.mark_deleted(marker, [(target.revision, target.revision)])
        if target.revision == head.marker.last_data_revision:
            marker.last_data_revision = await newest_live(log, request.keys, head, {target.revision})
            marker.previous_data_revision = marker.last_data_revision
        return entries.remember(marker, head)

    return await append(log, request, build, deadline)


async def delete_workflow(log: Log, request: Request, *, deadline: float, purges: bool = False) -> Appended:
    """Append the deletion of everything before it: the floor rises to the slot below.

    Args:
        log: the log.
        request: who asks.
        deadline: until when, in the event loop's time.
        purges: whether the content goes with it.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, WRITER_FENCED, REQUEST_ID_REUSED, COMMIT_UNKNOWN.

    """
    fingerprint = sha256(b"purge workflow" if purges else b"delete workflow").digest()

    async def build(head: Entry | None) -> Marker:
        if head is None:
            raise no_workflow(request.keys)
        await entries.refuse_or_replay(log, head, request, fingerprint)
        marker = entries.successor(head, request, MarkerKind.MARKER_KIND_DELETED, fingerprint)
        marker.floor = head.revision
        # What was uploaded before goes after the grace, without another marker of a collection.
        marker.low_water_mark = marker.revision
        marker.claim_generation = marker.revision
        marker.last_data_revision = 0
        marker.previous_data_revision = 0
        del marker.deleted[:]
        if purges:
            marker.purged.add(first=1, last=head.revision)
        expected.enter_save(marker)
        return entries.remember(marker, head)

    return await append(log, request, build, deadline)


def is_deleted_workflow(head: Entry) -> bool:
    """Whether the head is the deletion of everything before it, so that another deletion has nothing to do."""
    return head.marker.kind == MarkerKind.MARKER_KIND_DELETED and head.marker.floor == head.revision - 1


async def append(log: Log, request: Request, build: Build, deadline: float) -> Appended:
    """Append an entry, or find the one that an earlier try has appended."""
    try:
        return Appended(await log.append(request.keys, build, deadline=deadline), replayed=False)
    except Replay as replay:
        return Appended(replay.entry, replayed=True)
