"""The repair of a log that has lost markers, so that it can be saved to and collected again.

Damaged and missing entries are recorded as deleted. A damaged head may have been a fence, a deletion or a collection:
the entry that is appended after it fences every writer, refuses all earlier uploads and begins a new generation of
claims.
"""

import asyncio
from collections.abc import Sequence

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.protocol.checkpoints.retention import Ledger
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.ids import unique
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.format.revision_set import Range, RevisionSet
from holdfast_server.protocol.log import compare_and_set, leases, next_marker, recent
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.claims import take_over
from holdfast_server.protocol.log.entry import Entry, digest_of
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.put_if_absent import put_if_absent

_APPEND_SECONDS = 60.0


async def mark_lost_deleted(log: Log, keys: WorkflowKeys, ledger: Ledger, lost: Sequence[Range]) -> None:
    """Append the deletion of lost entries below a head that can be read.

    Args:
        log: the log.
        keys: the workflow.
        ledger: its checkpoints, up to a head above all lost entries.
        lost: the revisions of damaged and missing entries.

    Raises:
        HoldfastError: COMMIT_UNKNOWN, CHECKPOINT_CORRUPTED of the head.

    """
    request = _request(keys)

    async def build(head: Entry | None) -> Marker:
        assert head is not None
        return _repaired(head, request, MarkerKind.MARKER_KIND_DELETED, ledger, lost)

    await log.append(keys, build, deadline=_deadline())
    log.forget(keys)


async def fence_off(
    log: Log, keys: WorkflowKeys, ledger: Ledger, lost: Sequence[Range], *, head: Entry, newest: int
) -> bool:
    """Append a fence after a head that cannot be read.

    Args:
        log: the log.
        keys: the workflow.
        ledger: its checkpoints, up to `head`.
        lost: the revisions of damaged and missing entries below `head`.
        head: the newest entry that can be read.
        newest: the newest revision that has a marker.

    Returns:
        Whether the fence was appended; False if another process has appended there.

    Raises:
        HoldfastError: COMMIT_UNKNOWN.

    """
    request = _request(keys)
    deadline = _deadline()
    lost = [*lost, (head.revision + 1, newest)]
    marker = _repaired(head, request, MarkerKind.MARKER_KIND_FENCE, ledger, lost)
    marker.revision = marker.base_floor = newest + 1
    # Each lost entry may have been a save, a fence, or a collection that removed uploads and claims.
    marker.epoch += newest - head.revision + 1
    marker.low_water_mark = newest + 1
    compare_and_set.assume_all(marker, newest)
    compare_and_set.enter_fence(marker)
    leases.clear(marker)
    marker.claim_generation = marker.revision
    marker.previous_digest = await _digest(log, keys, newest)
    await take_over(log, request, ledger.claimed(head), generation=marker.claim_generation, deadline=deadline)
    recent.remember(marker, head.marker, log.marker_version)
    key = keys.marker(marker.revision)
    frame = marker_codec.encode(marker, key)
    found = await put_if_absent(log.store, key, frame, is_mine=lambda data: data == frame, deadline=deadline)
    log.forget(keys)
    return found is None


def _repaired(
    head: Entry, request: Request, kind: MarkerKind.ValueType, ledger: Ledger, lost: Sequence[Range]
) -> Marker:
    marker = next_marker.successor(head, request, kind, b"")
    # Checkpoints that were deleted may exist again, without some of their bytes: nothing may rest on them.
    marker.base_floor = marker.revision
    ranges = next_marker.with_deleted(marker.deleted, lost)
    del marker.deleted[:]
    marker.deleted.extend(ranges)
    # If the newest checkpoint is not lost it stays the newest, even if it was saved after the ledger was filled.
    is_lost = RevisionSet(0, lost).is_deleted
    if is_lost(head.marker.last_data_revision):
        newest = next((revision for revision in ledger.live(head) if not is_lost(revision)), 0)
        marker.last_data_revision = marker.previous_data_revision = newest
    return marker


async def _digest(log: Log, keys: WorkflowKeys, damaged: int) -> bytes:
    """Return the digest of a damaged marker; empty if it is larger than any marker."""
    try:
        return digest_of(await read_whole(log.store, keys.marker(damaged)))
    except HoldfastError:
        return b""


def _request(keys: WorkflowKeys) -> Request:
    return Request(keys, f"fsck-{unique()}")


def _deadline() -> float:
    return asyncio.get_running_loop().time() + _APPEND_SECONDS
