"""Which checkpoint is meant: the newest, one by its id, or the next older one, as a head has it.

Damage is told apart from what was deleted in the meantime, and never hides what may be asked for: a damaged marker may
be the one with the id.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from holdfast_server.layout.v1.marker_pb2 import MarkerKind
from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format.ids import told_revision
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.format.revision_set import Range
from holdfast_server.protocol.log import next_marker, revisions
from holdfast_server.protocol.log.claims import read_claim, search
from holdfast_server.protocol.log.log import Entry, Log

_Found = TypeVar("_Found")

_MOST_LOOKS = 100
# Of slots in a row that hold nothing: how many there are, only a marker says.
_TOLD_ONE_BY_ONE = 100


@dataclass(frozen=True, slots=True)
class Skipped:
    """A checkpoint that was passed over, and why."""

    revision: int
    checkpoint_id: str
    error: HoldfastError


class OvertakenError(HoldfastError):
    """What a head has was deleted and collected since it was read; another look at the log tells what is there now."""


async def looked_at(look: Callable[[], Awaitable[_Found]]) -> _Found:
    """What a look at the log finds; where it was overtaken another one looks, which is enough but for a broken store.

    Raises:
        OvertakenError: all of many were overtaken.

    """
    for _ in range(_MOST_LOOKS - 1):
        with suppress(OvertakenError):
            return await look()
    return await look()


async def read_head(log: Log, keys: WorkflowKeys) -> Entry:
    """The head.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.

    """
    head = await log.head(keys)
    if head is None:
        raise no_workflow(keys)
    return head


async def head_or_skip(log: Log, keys: WorkflowKeys, skipped: list[Skipped]) -> Entry | None:
    """The head; where the newest marker is damaged, the newest older one that can be read.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, LAYOUT_UNSUPPORTED.

    """
    try:
        return await read_head(log, keys)
    except HoldfastError as error:
        if error.reason is not Reason.CHECKPOINT_CORRUPTED:
            raise
    # The newest one again: another writer may have gone on behind the damage.
    async for _, revision in revisions.listed(log.store, keys.log):
        try:
            entry = await log.read_unbounded(keys, revision)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            skipped.append(Skipped(revision, "", error))
            continue
        if entry is not None:
            return entry
    return None


async def newest_live(log: Log, keys: WorkflowKeys, head: Entry, but: Set[int]) -> int:
    """The newest checkpoint as a head has it but for some that are about to go; 0 for none.

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
                revision, is_linked = await log.newest_below(keys, revision), False
            elif entry.is_checkpoint and revision not in but:
                return revision
            else:
                revision, is_linked = entry.marker.previous_data_revision, True
    return 0


async def find_wanted(
    log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, *, lost: Sequence[int] = ()
) -> Entry:
    """The checkpoint with an id, or with "" the newest, as the head has it; see `find_by_id`."""
    if checkpoint_id:
        return await find_by_id(log, keys, head, checkpoint_id, lost=lost)
    if head.marker.last_data_revision <= head.marker.floor:
        if lost:
            raise _lost(min(lost))
        raise HoldfastError(Reason.CHECKPOINT_NOT_FOUND, "the workflow has no checkpoint", revision=head.revision)
    entry = await _read_data(log, keys, head, head.marker.last_data_revision)
    if not entry.marker.purged_digest:
        return _require_data(entry)
    if await next_marker.is_gone_by_now(log, keys, entry.revision):
        raise OvertakenError(
            Reason.CHECKPOINT_DELETED,
            f"the checkpoint of revision {entry.revision} was purged",
            revision=entry.revision,
        )
    # The deletion was lost with its marker, and a repair has not found out that there is nothing left.
    async for older in live_below(log, keys, head, entry.revision, []):
        return older
    raise HoldfastError(Reason.CHECKPOINT_NOT_FOUND, "the workflow has no checkpoint", revision=head.revision)


async def find_by_id(
    log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, *, lost: Sequence[int] = ()
) -> Entry:
    """The checkpoint with an id, as the head has it.

    Args:
        log: the log.
        keys: the workflow.
        head: the newest marker that can be read.
        checkpoint_id: the id.
        lost: the slots above that head, whose markers are damaged.

    Raises:
        OvertakenError: the head is too old.
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
    """Check that a slot holds the checkpoint that a head says is there.

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
        f"revision {entry.revision} does not hold the checkpoint that the head of the log says",
        revision=entry.revision,
    )


async def _search_id(
    log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, lost: Sequence[int]
) -> Entry | None:
    for recent in head.marker.recent:
        if recent.checkpoint_id == checkpoint_id:
            if head.gone.is_deleted(recent.revision):
                raise deleted(checkpoint_id)
            return await _read_data(log, keys, head, recent.revision)
    told = await _read_told(log, keys, head, checkpoint_id, lost)
    if isinstance(told, Entry):
        return told
    base = await read_claim(log, keys, checkpoint_id, generation=head.marker.claim_generation)
    if base is None:
        newer = await log.head(keys)
        if newer is not None and newer.marker.claim_generation != head.marker.claim_generation:
            return await _search_id(log, keys, newer, checkpoint_id, ())
        if told is not None:
            raise told
        return None
    found = await search(log, keys, head, checkpoint_id, base)
    if found is None and told is not None:
        raise told
    if found is None and lost:
        raise _lost(min(lost))
    return found


async def _read_told(
    log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, lost: Sequence[int]
) -> Entry | HoldfastError | None:
    """The checkpoint in the slot that its id tells, or that it was deleted; None where the id tells none.

    Another one may have taken the place of a deleted one, and its id.
    """
    told = told_revision(checkpoint_id) or 0
    if told in lost:
        raise _lost(told)
    if not head.marker.floor < told <= head.revision:
        return None
    is_deleted = head.gone.is_deleted(told)
    try:
        entry = await _read_data(log, keys, head, told)
    except HoldfastError:
        # What a repair told as deleted may be damaged or gone.
        if is_deleted:
            return deleted(checkpoint_id)
        raise
    if entry.marker.checkpoint_id != checkpoint_id:
        return None
    return deleted(checkpoint_id) if is_deleted else entry


async def _read_data(log: Log, keys: WorkflowKeys, head: Entry, revision: int) -> Entry:
    entry = await log.read(keys, revision, head)
    if entry is None:
        if await next_marker.is_gone_by_now(log, keys, revision):
            raise OvertakenError(
                Reason.CHECKPOINT_DELETED, f"the checkpoint of revision {revision} was deleted", revision=revision
            )
        raise MarkerGoneError(keys.marker(revision), revision)
    return entry


async def live_below(
    log: Log, keys: WorkflowKeys, head: Entry, below: int, skipped: list[Skipped]
) -> AsyncIterator[Entry]:
    """Live checkpoints below a revision, newest first: by the links while they hold, else slot by slot.

    Raises:
        OvertakenError: the head is too old.
        HoldfastError: LAYOUT_UNSUPPORTED.

    """
    revision = head.marker.last_data_revision if head.marker.last_data_revision < below else below - 1
    while revision > head.marker.floor:
        if head.gone(revision):
            revision = head.gone.newest_left(revision)
            continue
        try:
            entry = await _read_data(log, keys, head, revision)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            skipped.append(Skipped(revision, "", error))
            revision -= 1
            if isinstance(error, MarkerGoneError):
                first = await log.newest_below(keys, revision + 1) + 1
                skipped += await _missing(log, keys, head, (first, revision))
                revision = first - 1
            continue
        if entry.is_checkpoint:
            yield entry
        revision = entry.marker.previous_data_revision


async def _missing(log: Log, keys: WorkflowKeys, head: Entry, revisions: Range) -> list[Skipped]:
    """Slots that hold nothing and are not gone as the head has it, newest first; of very many the oldest ones as one.

    Raises:
        OvertakenError: some are gone by now.

    """
    first, revision = revisions
    found: list[Skipped] = []
    newest = await log.head(keys) if first <= revision else None
    while (revision := head.gone.newest_left(revision)) >= first:
        if newest is None or newest.gone(revision):
            raise OvertakenError(Reason.CHECKPOINT_DELETED, f"revision {revision} was deleted", revision=revision)
        if len(found) == _TOLD_ONE_BY_ONE:
            return [*found, Skipped(revision, "", MarkerGoneError(keys.marker(revision), revision, first))]
        found.append(Skipped(revision, "", MarkerGoneError(keys.marker(revision), revision)))
        revision -= 1
    return found


def no_workflow(keys: WorkflowKeys) -> HoldfastError:
    """The error of a workflow without a log."""
    return HoldfastError(
        Reason.WORKFLOW_NOT_FOUND,
        f"nothing was ever saved for workflow {keys.workflow_id!r} in namespace {keys.namespace!r}",
    )


def deleted(checkpoint_id: str, kind: type[HoldfastError] = HoldfastError) -> HoldfastError:
    """The error of a checkpoint that was deleted."""
    return kind(Reason.CHECKPOINT_DELETED, f"checkpoint {checkpoint_id!r} was deleted", checkpoint_id=checkpoint_id)


def _lost(revision: int) -> HoldfastError:
    return HoldfastError(
        Reason.CHECKPOINT_CORRUPTED,
        f"the newest commit markers are damaged, and the one of revision {revision} may be what was asked for",
        revision=revision,
    )
