"""The slots of a log that hold something, by a listing. What lies among them and is no commit marker is passed over."""

from array import array
from collections.abc import AsyncGenerator, Sequence

from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys, revision_of
from holdfast_server.stores.base import ObjectStore, ObjectSummary

_PAGE_ENTRIES = 1000


async def listed(
    store: ObjectStore, log: str, start_after: str = "", *, first_page: int = _PAGE_ENTRIES
) -> AsyncGenerator[tuple[ObjectSummary, int]]:
    """The slots, newest first.

    Args:
        store: where the log lies.
        log: the prefix of its keys.
        start_after: the key behind which to begin.
        first_page: how many objects to ask for at first.

    """
    limit = first_page
    while page := await store.list(log, start_after=start_after, limit=limit):
        for each in page:
            revision = revision_of(each.key.removeprefix(log))
            if revision is not None:
                yield each, revision
        start_after, limit = page[-1].key, _PAGE_ENTRIES


async def newest(store: ObjectStore, keys: WorkflowKeys, below: int = MAX_REVISION + 1) -> int | None:
    """The newest slot below another one, without reading it; None where there is none."""
    async for _, revision in listed(store, keys.log, _behind(keys, below), first_page=1):
        return revision
    return None


async def between(store: ObjectStore, keys: WorkflowKeys, first: int, last: int) -> Sequence[int]:
    """The slots of a closed range that hold something, oldest first: eight bytes for each."""
    found = array("q")
    async for _, revision in listed(store, keys.log, _behind(keys, last + 1)):
        if revision < first:
            break
        found.append(revision)
    found.reverse()
    return found


def _behind(keys: WorkflowKeys, revision: int) -> str:
    """The key behind which the slots below one are listed."""
    return keys.marker(revision) if revision <= MAX_REVISION else ""
