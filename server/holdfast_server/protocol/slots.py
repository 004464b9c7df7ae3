"""The slots of a log that hold something, by a listing. What lies among them and is no commit marker is passed over."""

from collections.abc import AsyncGenerator

from holdfast_server.protocol.keys import MAX_REVISION, WorkflowKeys, slot
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
            revision = slot(each.key.removeprefix(log))
            if revision is not None:
                yield each, revision
        start_after, limit = page[-1].key, _PAGE_ENTRIES


async def newest(store: ObjectStore, keys: WorkflowKeys, below: int = MAX_REVISION + 1) -> int | None:
    """The newest slot below another one, without reading it; None where there is none."""
    start_after = keys.marker(below) if below <= MAX_REVISION else ""
    async for _, revision in listed(store, keys.log, start_after, first_page=1):
        return revision
    return None
