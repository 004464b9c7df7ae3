"""The live checkpoints of a workflow, newest first.

A missing marker is damage only if the current head still needs it: otherwise it was deleted while the walk went on.
"""

from collections.abc import AsyncIterator, Set

from holdfast_server.protocol.checkpoints.heads import OvertakenError, Skipped
from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.format.revision_set import Range
from holdfast_server.protocol.log import next_marker
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.walks import newest_below

# Missing markers that are reported one by one: a head may claim that billions of revisions exist.
_REPORTED_ONE_BY_ONE = 100


async def newest_live(log: Log, keys: WorkflowKeys, head: Entry, but: Set[int]) -> int:
    """Return the newest live checkpoint according to a head, apart from some that are about to be deleted; 0 if none.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.

    """
    revision, is_linked = head.marker.last_data_revision, True
    while revision > head.marker.floor:
        if head.gone(revision):
            revision, is_linked = head.gone.newest_left(revision), False
        elif is_linked and revision not in but:
            return revision
        else:
            entry = await log.read(keys, revision, head)
            if entry is None:
                revision, is_linked = await newest_below(log, keys, revision), False
            elif entry.is_checkpoint and revision not in but:
                return revision
            else:
                revision, is_linked = entry.marker.previous_data_revision, True
    return 0


async def live_below(
    log: Log, keys: WorkflowKeys, head: Entry, below: int, skipped: list[Skipped]
) -> AsyncIterator[Entry]:
    """Yield the live checkpoints below a revision, newest first.

    Follows the links between checkpoints. Below a damaged marker, which has lost its link, reads one revision after the
    other.

    Args:
        log: the log.
        keys: the workflow.
        head: the head, or the newest entry that can be read.
        below: the revision.
        skipped: gets the damaged markers.

    Raises:
        OvertakenError: the head is out of date.
        HoldfastError: LAYOUT_UNSUPPORTED.

    """
    revision = head.marker.last_data_revision if head.marker.last_data_revision < below else below - 1
    while revision > head.marker.floor:
        if head.gone(revision):
            revision = head.gone.newest_left(revision)
            continue
        try:
            entry = await read_live(log, keys, head, revision)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            skipped.append(Skipped(revision, "", error))
            revision -= 1
            if isinstance(error, MarkerGoneError):
                first = await newest_below(log, keys, revision + 1) + 1
                skipped += await _missing(log, keys, head, (first, revision))
                revision = first - 1
            continue
        if entry.is_checkpoint:
            yield entry
        revision = entry.marker.previous_data_revision


async def _missing(log: Log, keys: WorkflowKeys, head: Entry, revisions: Range) -> list[Skipped]:
    """Return the missing markers of a range that are live according to a head, newest first.

    If there are very many, the oldest ones come as one item.

    Raises:
        OvertakenError: some of them were deleted since the head was read.

    """
    first, revision = revisions
    found: list[Skipped] = []
    newest = await log.head(keys) if first <= revision else None
    while (revision := head.gone.newest_left(revision)) >= first:
        if newest is None or newest.gone(revision):
            raise OvertakenError(Reason.CHECKPOINT_DELETED, f"revision {revision} was deleted", revision=revision)
        if len(found) == _REPORTED_ONE_BY_ONE:
            return [*found, Skipped(revision, "", MarkerGoneError(keys.marker(revision), revision, first))]
        found.append(Skipped(revision, "", MarkerGoneError(keys.marker(revision), revision)))
        revision -= 1
    return found


async def read_live(log: Log, keys: WorkflowKeys, head: Entry, revision: int) -> Entry:
    """Return the entry of a revision that is live according to a head.

    Raises:
        OvertakenError: it was deleted since the head was read.
        HoldfastError: CHECKPOINT_CORRUPTED, also if its marker is missing; LAYOUT_UNSUPPORTED.

    """
    entry = await log.read(keys, revision, head)
    if entry is None:
        if await next_marker.is_gone_by_now(log, keys, revision):
            raise OvertakenError(
                Reason.CHECKPOINT_DELETED, f"the checkpoint of revision {revision} was deleted", revision=revision
            )
        raise MarkerGoneError(keys.marker(revision), revision)
    return entry
