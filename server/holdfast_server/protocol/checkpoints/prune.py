"""Deletions of many checkpoints by one commit: those that the caller chose, or all except the newest ones."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

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
    """The checkpoints to delete, as ranges, with their number and the newest checkpoint that stays."""

    ranges: Sequence[Range]
    checkpoints: int
    newest_kept: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """The result of a deletion of many checkpoints.

    Attributes:
        checkpoints: how many this attempt has deleted.
        head: the head of the log: the deletion, or the head that was found if there was nothing to delete.

    """

    checkpoints: int
    head: Entry

    def with_head(self, verified: Entry | None) -> "Deletion":
        """Return the result with the newer one of two heads.

        A deletion that had nothing to do may have seen an older head than the one that its call has read before.
        """
        return self if verified is None or verified.revision <= self.head.revision else replace(self, head=verified)


class _NothingToDoError(Exception):
    """No checkpoint is to be deleted, so that there is nothing to commit."""


async def delete_many(log: Log, request: Request, revisions: Sequence[int], *, deadline: float) -> Deletion:
    """Delete checkpoints by their revisions. Those that are deleted already are skipped.

    Args:
        log: the log.
        request: the request.
        revisions: the revisions of the checkpoints.
        deadline: when to give up, in the event loop's time.

    Raises:
        HoldfastError: WRITER_FENCED, REQUEST_ID_REUSED, COMMIT_UNKNOWN, CHECKPOINT_CORRUPTED.

    """
    chosen = set(revisions)

    async def doomed(head: Entry) -> _Doomed:
        going = sorted(revision for revision in chosen if revision <= head.revision and not head.gone(revision))
        return _Doomed([(one, one) for one in going], len(going), await newest_live(log, request.keys, head, chosen))

    return await _append(log, request, doomed, _DELETED, deadline)


async def prune(log: Log, request: Request, keep_last: int, *, deadline: float) -> Deletion:
    """Delete all checkpoints except the newest ones and those that they need.

    Args:
        log: the log.
        request: the request.
        keep_last: how many stay, at least one.
        deadline: when to give up, in the event loop's time.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, WRITER_FENCED, REQUEST_ID_REUSED, COMMIT_UNKNOWN; CHECKPOINT_CORRUPTED: a
            damaged marker may hold a checkpoint that another one needs.

    """
    ledger: Ledger | None = None
    # With an old head, a prune could find nothing to do although there is.
    verified = await log.head(request.keys)

    async def doomed(head: Entry) -> _Doomed:
        nonlocal ledger
        ledger = ledger or Ledger(head.marker.floor)
        await ledger.read_up_to(log, request.keys, head)
        # now=0: the collector expires ttls, prune does not.
        decision = ledger.decide(head, Retention(keep_last=keep_last), now=0.0)
        return _Doomed(decision.retired, decision.retired_checkpoints, decision.newest_kept)

    pruned = await _append(log, request, doomed, _PRUNED, deadline)
    return pruned.with_head(verified)


async def _append(
    log: Log, request: Request, choose: Callable[[Entry], Awaitable[_Doomed]], fingerprint: bytes, deadline: float
) -> Deletion:
    deleted = 0
    newest: Entry

    async def build(head: Entry | None) -> Marker:
        nonlocal deleted, newest
        if head is None:
            raise no_workflow(request.keys)
        newest = head
        await append_once.refuse_or_replay(log, head, request, fingerprint)
        doomed = await choose(head)
        if not doomed.checkpoints:
            raise _NothingToDoError
        deleted = doomed.checkpoints
        marker = next_marker.successor(head, request, MarkerKind.MARKER_KIND_DELETED, fingerprint)
        next_marker.mark_deleted(marker, doomed.ranges)
        marker.last_data_revision = marker.previous_data_revision = doomed.newest_kept
        return marker

    try:
        appended = await log.append(request.keys, build, deadline=deadline)
    except (Replay, _NothingToDoError):
        return Deletion(0, newest)
    return Deletion(deleted, appended)
