"""Retries: what an earlier try of a request has committed, however long ago, and whatever became of it since."""

from math import inf

from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log import revisions
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log, now
from holdfast_server.protocol.log.walks import scan
from holdfast_server.stores.base import StoreUnavailableError

# When a first try began of which nothing is said: as far back as the log is kept.
LONG_AGO = -inf

# How far the clocks of a store's machines may differ: this, or a part of the grace where that is less.
_CLOCK_SKEW_SECONDS = 300.0
# S3 tells whole seconds: what seems to lie before a moment may lie so far behind it.
_TIMESTAMP_SECONDS = 1.0


async def find_request(
    log: Log, keys: WorkflowKeys, head: Entry, request_id: str, first_tried: float | None, *, is_silent: bool = False
) -> Entry | None:
    """What an earlier try of a request has committed, if anything.

    Args:
        log: the log.
        keys: the workflow.
        head: the head of its log.
        request_id: the request.
        first_tried: on a second or later try, when the first began, by `now`, or `LONG_AGO` if the request does not
            say; None on a first try.
        is_silent: whether the request does not even say which try it is.

    Raises:
        HoldfastError: COMMIT_UNKNOWN: the try may have committed what was collected since, or is damaged.

    """
    for recent in head.marker.recent:
        if recent.request_id == request_id:
            return await log.read(keys, recent.revision, head)
    if is_silent:
        return await _find_silent(log, keys, head, request_id)
    if first_tried is None:
        return None
    # What the first try aimed at may have been won, and collected, by others since it read its head.
    kept_seconds = _kept_seconds(log)
    since = now() - kept_seconds if first_tried == LONG_AGO else first_tried
    is_too_old = first_tried != LONG_AGO and now() - first_tried > kept_seconds
    try:
        first = await _last_before(log, keys, since) + 1
    except StoreUnavailableError as error:
        raise HoldfastError(
            Reason.COMMIT_UNKNOWN,
            f"the store does not tell what became of the first try: {error}",
            request_id=request_id,
            last_said=error,
        ) from None
    if head.marker.floor and is_too_old:
        raise HoldfastError(
            Reason.COMMIT_UNKNOWN, "the first try lies further back than the log is kept", request_id=request_id
        )
    # Below the floor too: a deletion since then does not make undone what was committed before it.
    oldest_known = _oldest_known(head)
    is_damaged = False
    async for (_, revision), entry in scan(log, keys, first, oldest_known - 1):
        if isinstance(entry, Entry):
            if entry.marker.request_id == request_id:
                return entry
        elif revision > head.marker.floor or not isinstance(entry, MarkerGoneError):
            is_damaged = True
    if is_damaged:
        raise HoldfastError(
            Reason.COMMIT_UNKNOWN, "a commit marker is damaged that may be the first try's", request_id=request_id
        )
    return None


async def _find_silent(log: Log, keys: WorkflowKeys, head: Entry, request_id: str) -> Entry | None:
    """What an earlier try has committed within the grace, by what this server has read of the log.

    A request that does not say which try it is may be a retry. Each slot is read for that once: the ids are remembered.
    What is damaged is passed over, since nothing says that there was an earlier try.
    """
    newest_unknown = _oldest_known(head) - 1
    if newest_unknown < 1:
        return None
    indexed = log.requests.get(keys)
    if indexed is None:
        indexed = log.requests.start(keys, await _last_before(log, keys, now() - _kept_seconds(log)))
    async for (_, revision), entry in scan(log, keys, indexed.last + 1, newest_unknown):
        log.requests.add(indexed, revision, entry.marker.request_id if isinstance(entry, Entry) else "")
    revision_of_it = indexed.revisions.get(hash(request_id))
    found = None if revision_of_it is None else await log.read_unbounded(keys, revision_of_it)
    return found if found is not None and found.marker.request_id == request_id else None


def _oldest_known(head: Entry) -> int:
    """The oldest slot down to which the head itself tells every request."""
    oldest_known = head.revision + 1
    for recent in head.marker.recent:
        # A repair has left a gap where markers were lost.
        if recent.revision < oldest_known - 1:
            break
        oldest_known = recent.revision
    return oldest_known


def _kept_seconds(log: Log) -> float:
    """How far back the log is kept for sure, whatever its readers and its store take for the time."""
    return log.grace_seconds - log.recent_seconds - _clock_skew_seconds(log)


async def _last_before(log: Log, keys: WorkflowKeys, moment: float) -> int:
    """A slot that was won before a moment of this process, by the store's own clock: those of servers differ."""
    newest_seconds = None
    async for each, revision in revisions.listed(log.store, keys.log):
        newest_seconds = each.modified_seconds if newest_seconds is None else newest_seconds
        # The newest slot is older than now, by as much at least as it is older than this moment.
        before = newest_seconds - (now() - moment) - _clock_skew_seconds(log) - _TIMESTAMP_SECONDS
        if each.modified_seconds < before:
            return revision
    return 0


def _clock_skew_seconds(log: Log) -> float:
    return min(_CLOCK_SKEW_SECONDS, log.recent_seconds)
