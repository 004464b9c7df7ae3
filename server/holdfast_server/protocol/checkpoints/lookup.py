"""Which checkpoint a call means: the newest one or the one with an id, according to a head.

Damage is distinguished from a deletion since the head was read, and never hides a checkpoint that may be the one meant:
a damaged marker may be the one with the id.
"""

from collections.abc import Sequence
from contextlib import suppress

from holdfast_server.layout.v1.marker_pb2 import MarkerKind
from holdfast_server.protocol.checkpoints.heads import OvertakenError, deleted
from holdfast_server.protocol.checkpoints.live import live_below, read_live
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.ids import revision_in
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log import next_marker, recent
from holdfast_server.protocol.log.claims import find_chosen, read_claim
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log


async def find_requested(
    log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, *, lost: Sequence[int] = ()
) -> Entry:
    """Return the checkpoint with an id, or the newest one for the id "", according to a head; see `find_by_id`."""
    if checkpoint_id:
        return await find_by_id(log, keys, head, checkpoint_id, lost=lost)
    if head.marker.last_data_revision <= head.marker.floor:
        if lost:
            raise _lost(min(lost))
        raise HoldfastError(Reason.CHECKPOINT_NOT_FOUND, "the workflow has no checkpoint", revision=head.revision)
    entry = await read_live(log, keys, head, head.marker.last_data_revision)
    if not entry.marker.purged_digest:
        return _require_data(entry)
    if await next_marker.is_gone_by_now(log, keys, entry.revision):
        raise OvertakenError(
            Reason.CHECKPOINT_DELETED,
            f"the checkpoint of revision {entry.revision} was purged",
            revision=entry.revision,
        )
    # The marker of the deletion was lost, and a repair took the purged checkpoint for the newest one.
    async for older in live_below(log, keys, head, entry.revision, []):
        return older
    raise HoldfastError(Reason.CHECKPOINT_NOT_FOUND, "the workflow has no checkpoint", revision=head.revision)


async def find_by_id(
    log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, *, lost: Sequence[int] = ()
) -> Entry:
    """Return the checkpoint with an id, according to a head.

    Args:
        log: the log.
        keys: the workflow.
        head: the newest marker that can be read.
        checkpoint_id: the id.
        lost: the revisions above that head, whose markers are damaged.

    Raises:
        OvertakenError: the head is out of date.
        HoldfastError: CHECKPOINT_NOT_FOUND, CHECKPOINT_DELETED, CHECKPOINT_CORRUPTED.

    """
    entry = await _search_id(log, keys, head, checkpoint_id, lost)
    if entry is None or entry.revision <= head.marker.floor:
        raise HoldfastError(
            Reason.CHECKPOINT_NOT_FOUND, f"no checkpoint {checkpoint_id!r}", checkpoint_id=checkpoint_id
        )
    if head.gone.is_deleted(entry.revision):
        raise deleted(checkpoint_id)
    return _require_data(entry, checkpoint_id)


def _require_data(entry: Entry, checkpoint_id: str = "") -> Entry:
    """Check that an entry is the checkpoint that a head says it is, and return it.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED; CHECKPOINT_DELETED: it was purged.

    """
    marker = entry.marker
    if marker.purged_digest:
        raise deleted(marker.checkpoint_id)
    if marker.kind == MarkerKind.MARKER_KIND_DATA and checkpoint_id in ("", marker.checkpoint_id):
        return entry
    raise HoldfastError(
        Reason.CHECKPOINT_CORRUPTED,
        f"revision {entry.revision} does not hold the checkpoint that the head of the log names",
        revision=entry.revision,
    )


async def _search_id(
    log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, lost: Sequence[int]
) -> Entry | None:
    doubt: HoldfastError | None = None
    for revision in recent.with_checkpoint(head.marker, checkpoint_id):
        is_deleted = head.gone.is_deleted(revision)
        try:
            entry = await (log.read(keys, revision, head) if is_deleted else read_live(log, keys, head, revision))
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            # Perhaps another checkpoint, whose id has the same digest.
            doubt = doubt or (deleted(checkpoint_id) if is_deleted else error)
            continue
        if entry is not None and entry.is_save_of(checkpoint_id):
            if is_deleted:
                raise doubt or deleted(checkpoint_id)
            return entry
    if doubt is None:
        return await _search_older(log, keys, head, checkpoint_id, lost)
    # Only a live checkpoint removes the doubt: an older one with the id may have been deleted.
    with suppress(HoldfastError):
        older = await _search_older(log, keys, head, checkpoint_id, lost)
        if older is not None and not head.gone(older.revision):
            return older
    raise doubt


async def _search_older(
    log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, lost: Sequence[int]
) -> Entry | None:
    """Return the checkpoint with an id that is not among the recent entries; None if there is none."""
    server_made = await _read_server_made(log, keys, head, checkpoint_id, lost)
    if isinstance(server_made, Entry):
        return server_made
    base = await read_claim(log, keys, checkpoint_id, generation=head.marker.claim_generation)
    found = await find_chosen(log, keys, head, checkpoint_id, base)
    if found is not None:
        return found
    if base is None:
        newer = await log.head(keys)
        if newer is not None and newer.marker.claim_generation != head.marker.claim_generation:
            return await _search_id(log, keys, newer, checkpoint_id, ())
    if server_made is not None:
        raise server_made
    if lost:
        # Also if the id is not claimed: one that is new was not.
        raise _lost(min(lost))
    return None


async def _read_server_made(
    log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, lost: Sequence[int]
) -> Entry | HoldfastError | None:
    """Return the checkpoint at the revision that its id contains, or the error that it was deleted.

    Return None for an id that contains no revision. The id of a deleted checkpoint may belong to its replacement.
    """
    revision = revision_in(checkpoint_id) or 0
    if revision in lost:
        raise _lost(revision)
    if not head.marker.floor < revision <= head.revision:
        return None
    is_deleted = head.gone.is_deleted(revision)
    try:
        entry = await read_live(log, keys, head, revision)
    except HoldfastError:
        # A repair may have recorded it as deleted because it is damaged or missing.
        if is_deleted:
            return deleted(checkpoint_id)
        raise
    if entry.marker.checkpoint_id != checkpoint_id:
        return None
    return deleted(checkpoint_id) if is_deleted else entry


def _lost(revision: int) -> HoldfastError:
    return HoldfastError(
        Reason.CHECKPOINT_CORRUPTED,
        f"the newest commit markers are damaged, and that of revision {revision} may hold the checkpoint",
        revision=revision,
    )
