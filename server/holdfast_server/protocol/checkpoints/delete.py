"""Deletions of one checkpoint, and of a whole workflow."""

from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.protocol.checkpoints.heads import no_workflow
from holdfast_server.protocol.checkpoints.live import newest_live
from holdfast_server.protocol.checkpoints.lookup import find_by_id
from holdfast_server.protocol.log import append_once, compare_and_set, next_marker
from holdfast_server.protocol.log.append_once import Appended, Request, append
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log


async def delete_checkpoint(log: Log, request: Request, checkpoint_id: str, *, deadline: float) -> Appended:
    """Append the deletion of one checkpoint.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, CHECKPOINT_NOT_FOUND, CHECKPOINT_DELETED, WRITER_FENCED,
            REQUEST_ID_REUSED, COMMIT_UNKNOWN.

    """
    fingerprint = sha256(b"delete\0" + checkpoint_id.encode()).digest()

    async def build(head: Entry | None) -> Marker:
        if head is None:
            raise no_workflow(request.keys)
        await append_once.refuse_or_replay(log, head, request, fingerprint)
        target = await find_by_id(log, request.keys, head, checkpoint_id)
        marker = next_marker.successor(head, request, MarkerKind.MARKER_KIND_DELETED, fingerprint)
        marker.checkpoint_id = checkpoint_id
        next_marker.mark_deleted(marker, [(target.revision, target.revision)])
        if target.revision == head.marker.last_data_revision:
            marker.last_data_revision = await newest_live(log, request.keys, head, {target.revision})
            marker.previous_data_revision = marker.last_data_revision
        return marker

    return await append(log, request, build, deadline)


async def delete_workflow(log: Log, request: Request, *, deadline: float, purges: bool = False) -> Appended:
    """Append the deletion of everything before it: the floor rises to the revision below the deletion.

    Args:
        log: the log.
        request: the request.
        deadline: when to give up, in the event loop's time.
        purges: whether the content is removed at once.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, WRITER_FENCED, REQUEST_ID_REUSED, COMMIT_UNKNOWN.

    """
    fingerprint = sha256(b"purge workflow" if purges else b"delete workflow").digest()

    async def build(head: Entry | None) -> Marker:
        if head is None:
            raise no_workflow(request.keys)
        await append_once.refuse_or_replay(log, head, request, fingerprint)
        marker = next_marker.successor(head, request, MarkerKind.MARKER_KIND_DELETED, fingerprint)
        marker.floor = head.revision
        # Lets a collection remove earlier uploads after the grace, without a marker of its own.
        marker.low_water_mark = marker.revision
        marker.claim_generation = marker.revision
        marker.last_data_revision = 0
        marker.previous_data_revision = 0
        del marker.deleted[:]
        if purges:
            marker.purged.add(first=1, last=head.revision)
        compare_and_set.enter_save(marker)
        return marker

    return await append(log, request, build, deadline)


def is_deleted_workflow(head: Entry) -> bool:
    """Return whether the head is the deletion of a workflow, so that another deletion has nothing to do."""
    return head.marker.kind == MarkerKind.MARKER_KIND_DELETED and head.marker.floor == head.revision - 1
