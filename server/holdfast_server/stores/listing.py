"""Listings of any length."""

from collections.abc import AsyncIterator

from holdfast_server.stores.base import ObjectStore, ObjectSummary


async def list_all(store: ObjectStore, prefix: str, *, start_after: str = "") -> AsyncIterator[ObjectSummary]:
    """Yield every object, in key order, whose key begins with `prefix` and follows `start_after`.

    Objects that are created or deleted during the listing may be missing or present.

    Raises:
        StoreError: the store cannot be used.

    """
    while page := await store.list(prefix, start_after=start_after):
        for summary in page:
            yield summary
        start_after = page[-1].key
