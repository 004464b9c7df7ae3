"""Fences: the entries by which a new writer takes over a workflow."""

from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.log import append_once, compare_and_set, leases, next_marker
from holdfast_server.protocol.log.append_once import Appended, Request, append
from holdfast_server.protocol.log.entry import Entry, name_head
from holdfast_server.protocol.log.leases import Lease
from holdfast_server.protocol.log.log import Log

_NO_LEASE = Lease()


async def acquire_writer(
    log: Log, request: Request, *, expected_revision: int | None = None, lease: Lease = _NO_LEASE, deadline: float
) -> Appended:
    """Append a fence, which raises the epoch: saves with a lower epoch are refused from then on.

    Args:
        log: the log.
        request: the request.
        expected_revision: the revision since which nothing may stand against the fence, as for a save; None for any.
        lease: the lease that is requested.
        deadline: when to give up, in the event loop's time.

    Raises:
        HoldfastError: REVISION_CONFLICT, LEASE_HELD, COMMIT_UNKNOWN, REQUEST_ID_REUSED.

    """
    fingerprint = sha256(b"fence").digest()

    async def build(head: Entry | None) -> Marker:
        await append_once.refuse_or_replay(log, head, request, fingerprint)
        compare_and_set.require(head, expected_revision, None)
        marker = next_marker.successor(head, request, MarkerKind.MARKER_KIND_FENCE, fingerprint)
        if not lease.force:
            leases.refuse_held(head, marker.create_time)
        marker.epoch += 1
        marker.writer_epoch = marker.epoch
        compare_and_set.enter_fence(marker)
        leases.grant(marker, lease)
        return marker

    return await append(log, request, build, deadline)


async def require_unfenced(log: Log, request: Request) -> Entry | None:
    """Check that the epoch of a request that commits nothing is the newest one, with a head that is read now.

    Returns:
        That head; None if the request has no epoch, so that none was read.

    Raises:
        HoldfastError: WRITER_FENCED, INVALID_REQUEST.

    """
    if request.epoch is None:
        return None
    head = await log.head(request.keys)
    try:
        append_once.refuse_epoch(head, request)
    except HoldfastError as error:
        name_head(error, head)
        raise
    return head
