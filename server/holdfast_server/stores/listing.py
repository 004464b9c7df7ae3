"""Listings of any length, page by page, of any store."""

from collections.abc import AsyncIterator

from holdfast_server.stores.base import ObjectStore, ObjectSummary


async def list_all(store: ObjectStore, prefix: str, *, start_after: str = "") -> AsyncIterator[ObjectSummary]:
    """Every object, in key order, whose key begins with `prefix` and follows `start_after`.

    What is created or removed meanwhile may be in it or not.

    Raises:
        StoreError: the store cannot be used.

    """
    while page := await store.list(prefix, start_after=start_after):
        for each in page:
            yield each
        start_after = page[-1].key
