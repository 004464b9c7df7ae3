"""Replays: the entry that an earlier attempt of a request has committed, if there is one.

The search goes back as far as the log is certainly kept. A request that may be older than that is refused with
COMMIT_UNKNOWN, because its entry may have been committed and collected. An entry counts even if it was deleted since.
"""

from math import inf

from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log import recent, revisions
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log, now
from holdfast_server.protocol.log.walks import scan
from holdfast_server.stores.base import StoreUnavailableError

# When the first attempt began if a retry does not say: the search goes back as far as the log is kept.
LONG_AGO = -inf

# How far the clocks of a store's machines may differ: this, or a part of the grace if that is less.
_CLOCK_SKEW_SECONDS = 300.0
# S3 reports whole seconds: an object that seems to be older than a moment may be newer by this much.
_TIMESTAMP_SECONDS = 1.0


async def find_request(
    log: Log,
    keys: WorkflowKeys,
    head: Entry,
    request_id: str,
    first_attempt_at: float | None,
    *,
    is_silent: bool = False,
) -> Entry | None:
    """Return the entry that an earlier attempt of a request has committed; None if there is none.

    Args:
        log: the log.
        keys: the workflow.
        head: the head of its log.
        request_id: the request.
        first_attempt_at: on a second or later attempt, when the first one began, by `now`, or `LONG_AGO` if the request
            does not say; None on a first attempt.
        is_silent: whether the request does not even say which attempt it is.

    Raises:
        HoldfastError: COMMIT_UNKNOWN: an earlier attempt may have committed an entry that was collected since or that
            is damaged.

    """
    found = await _find_recent(log, keys, head, request_id)
    if found is not None:
        return found
    if is_silent:
        return await _find_silent(log, keys, head, request_id)
    if first_attempt_at is None:
        return None
    # The revision that the first attempt wanted may have been won by others since, and collected.
    kept_seconds = _kept_seconds(log)
    since = now() - kept_seconds if first_attempt_at == LONG_AGO else first_attempt_at
    is_too_old = first_attempt_at != LONG_AGO and now() - first_attempt_at > kept_seconds
    try:
        first = await _last_before(log, keys, since) + 1
    except StoreUnavailableError as error:
        raise HoldfastError(
            Reason.COMMIT_UNKNOWN,
            f"the store cannot be searched for the first attempt: {error}",
            request_id=request_id,
            last_said=error,
        ) from None
    if head.marker.floor and is_too_old:
        raise HoldfastError(
            Reason.COMMIT_UNKNOWN,
            "the first attempt began before the time for which the log is kept",
            request_id=request_id,
        )
    # Below the floor too: a deletion does not undo the commits before it.
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
            Reason.COMMIT_UNKNOWN, "a damaged commit marker may be that of the first attempt", request_id=request_id
        )
    return None


async def _find_recent(log: Log, keys: WorkflowKeys, head: Entry, request_id: str) -> Entry | None:
    damage: HoldfastError | None = None
    for revision in recent.with_request(head.marker, request_id):
        try:
            entry = await log.read(keys, revision, head)
        except HoldfastError as error:
            # Perhaps the entry of another request, whose id has the same digest.
            damage = damage or error
            continue
        if entry is not None and entry.marker.request_id == request_id:
            return entry
    if damage is not None:
        raise damage
    return None


async def _find_silent(log: Log, keys: WorkflowKeys, head: Entry, request_id: str) -> Entry | None:
    """Return the entry that an earlier attempt has committed within the grace, by the index of request ids.

    A request that does not say which attempt it is may be a retry. Each entry is read for this only once, since its
    request id is kept in the index. Damaged entries are skipped, since nothing says that there was an earlier attempt.
    """
    newest_unknown = _oldest_known(head) - 1
    if newest_unknown < 1:
        return None
    indexed = log.requests.get(keys)
    if indexed is None:
        indexed = log.requests.start(keys, await _last_before(log, keys, now() - _kept_seconds(log)))
    async for (_, last), entry in scan(log, keys, indexed.last + 1, newest_unknown):
        log.requests.add(indexed, last, entry.marker.request_id if isinstance(entry, Entry) else "")
    revision = indexed.revisions.get(hash(request_id))
    found = None if revision is None else await log.read_unbounded(keys, revision)
    return found if found is not None and found.marker.request_id == request_id else None


def _oldest_known(head: Entry) -> int:
    """Return the oldest revision down to which the head itself names the request of every entry."""
    oldest_known = head.revision + 1
    for revision in recent.revisions(head.marker):
        # After a gap that a repair has left, entries are missing from the list.
        if revision < oldest_known - 1:
            break
        oldest_known = revision
    return oldest_known


def _kept_seconds(log: Log) -> float:
    """Return for how long the log is certainly kept, given the errors of the clocks of its readers and its store."""
    return log.grace_seconds - log.recent_seconds - _clock_skew_seconds(log)


async def _last_before(log: Log, keys: WorkflowKeys, moment: float) -> int:
    """Return a revision that was committed before a moment of this process; 0 if there may be none.

    Only ages by the store's own clock are compared, since the clocks of servers differ.
    """
    newest_seconds = None
    async for marker, revision in revisions.listed(log.store, keys.log):
        newest_seconds = marker.modified_seconds if newest_seconds is None else newest_seconds
        # The store's clock shows the newest marker's time or a later one, so that the moment was not before this.
        before = newest_seconds - (now() - moment) - _clock_skew_seconds(log) - _TIMESTAMP_SECONDS
        if marker.modified_seconds < before:
            return revision
    return 0


def _clock_skew_seconds(log: Log) -> float:
    return min(_CLOCK_SKEW_SECONDS, log.recent_seconds)
