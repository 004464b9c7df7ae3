"""Deletions of many checkpoints by one commit: those that somebody chose, or all but the newest ones."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.protocol.checkpoints.heads import no_workflow
from holdfast_server.protocol.checkpoints.live import newest_live
from holdfast_server.protocol.checkpoints.retention import Ledger, Retention
from holdfast_server.protocol.format.revision_set import Range
from holdfast_server.protocol.log import append_once, next_marker
from holdfast_server.protocol.log.append_once import Replay, Request
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log

_DELETED, _PRUNED = b"delete checkpoints", b"prune"


@dataclass(frozen=True, slots=True)
class _Doomed:
    """What goes: ranges, how many checkpoints are in them, and the newest one that stays."""

    ranges: Sequence[Range]
    checkpoints: int
    newest_kept: int


class _NothingToDoError(Exception):
    """No checkpoint goes, so there is nothing to commit."""


async def delete_many(log: Log, request: Request, revisions: Sequence[int], *, deadline: float) -> int:
    """Delete checkpoints by their revisions. Those that are gone already are passed over.

    Args:
        log: the log.
        request: who asks.
        revisions: of checkpoints.
        deadline: until when, in the event loop's time.

    Returns:
        How many this try has deleted.

    Raises:
        HoldfastError: WRITER_FENCED, REQUEST_ID_REUSED, COMMIT_UNKNOWN, CHECKPOINT_CORRUPTED.

    """
    chosen = set(revisions)

    async def doomed(head: Entry) -> _Doomed:
        going = sorted(revision for revision in chosen if revision <= head.revision and not head.gone(revision))
        return _Doomed([(each, each) for each in going], len(going), await newest_live(log, request.keys, head, chosen))

    return await _append(log, request, doomed, _DELETED, deadline)


async def prune(log: Log, request: Request, keep_last: int, *, deadline: float) -> int:
    """Delete all checkpoints but the newest ones and those that they need.

    Args:
        log: the log.
        request: who asks.
        keep_last: how many stay, at least one.
        deadline: until when, in the event loop's time.

    Returns:
        How many this try has deleted.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, WRITER_FENCED, REQUEST_ID_REUSED, COMMIT_UNKNOWN; CHECKPOINT_CORRUPTED: a
            marker is damaged, which may hold what another one needs.

    """
    ledger: Ledger | None = None
    # Whether there is nothing to do must not rest on an old head.
    await log.head(request.keys)

    async def doomed(head: Entry) -> _Doomed:
        nonlocal ledger
        ledger = ledger or Ledger(head.marker.floor)
        await ledger.read_up_to(log, request.keys, head)
        # By the clock of no server: what its own time to live lets go is for collections.
        decision = ledger.decide(head, Retention(keep_last=keep_last), now=0.0)
        return _Doomed(decision.retired, decision.retired_checkpoints, decision.newest_kept)

    return await _append(log, request, doomed, _PRUNED, deadline)


async def _append(
    log: Log, request: Request, choose: Callable[[Entry], Awaitable[_Doomed]], fingerprint: bytes, deadline: float
) -> int:
    deleted = 0

    async def build(head: Entry | None) -> Marker:
        nonlocal deleted
        if head is None:
            raise no_workflow(request.keys)
        await append_once.refuse_or_replay(log, head, request, fingerprint)
        doomed = await choose(head)
        if not doomed.checkpoints:
            raise _NothingToDoError
        deleted = doomed.checkpoints
        marker = next_marker.successor(head, request, MarkerKind.MARKER_KIND_DELETED, fingerprint)
        next_marker.mark_deleted(marker, doomed.ranges)
        marker.last_data_revision = marker.previous_data_revision = doomed.newest_kept
        return next_marker.remember(marker, head)

    try:
        await log.append(request.keys, build, deadline=deadline)
    except (Replay, _NothingToDoError):
        return 0
    return deleted
