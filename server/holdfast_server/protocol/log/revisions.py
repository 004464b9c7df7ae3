"""The revisions of a log that have a marker, by a listing. Foreign objects among the markers are skipped."""

from array import array
from collections.abc import AsyncGenerator, Sequence

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys, revision_of
from holdfast_server.stores.base import ObjectStore, ObjectSummary, StoreDamagedError

_PAGE_ENTRIES = 1000


async def listed(
    store: ObjectStore, log: str, start_after: str = "", *, first_page: int = _PAGE_ENTRIES
) -> AsyncGenerator[tuple[ObjectSummary, int]]:
    """Yield the markers of a log with their revisions, newest first.

    Args:
        store: the store.
        log: what the keys of the log begin with.
        start_after: the key after which to begin.
        first_page: how many objects the first request lists.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED: the store cannot list all of them.
        StoreError: the store cannot be used.

    """
    limit = first_page
    while page := await _list(store, log, start_after, limit):
        for found in page:
            revision = revision_of(found.key.removeprefix(log))
            if revision is not None:
                yield found, revision
        start_after, limit = page[-1].key, _PAGE_ENTRIES


async def _list(store: ObjectStore, log: str, start_after: str, limit: int) -> Sequence[ObjectSummary]:
    try:
        return await store.list(log, start_after=start_after, limit=limit)
    except StoreDamagedError as error:
        raise HoldfastError(Reason.CHECKPOINT_CORRUPTED, f"the log cannot be listed: {error}", key=log) from error


async def newest(store: ObjectStore, keys: WorkflowKeys, below: int = MAX_REVISION + 1) -> int | None:
    """Return the newest revision below another one that has a marker; None if there is none."""
    async for _, revision in listed(store, keys.log, _start_below(keys, below), first_page=1):
        return revision
    return None


async def between(store: ObjectStore, keys: WorkflowKeys, first: int, last: int) -> Sequence[int]:
    """Return the revisions of a closed range that have a marker, oldest first, in eight bytes each."""
    found = array("q")
    async for _, revision in listed(store, keys.log, _start_below(keys, last + 1)):
        if revision < first:
            break
        found.append(revision)
    found.reverse()
    return found


def _start_below(keys: WorkflowKeys, revision: int) -> str:
    """Return the key after which the markers below a revision are listed."""
    return keys.marker(revision) if revision <= MAX_REVISION else ""
