"""The objects of a store, workflow by workflow, from as few listings as possible.

One listing of thousands of keys contains many small workflows completely, so that they need no listings of their own.
The objects of a large workflow are listed when they are needed, so that memory stays bounded.
"""

from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import groupby, islice, takewhile
from math import inf
from operator import attrgetter

from holdfast_server.protocol.format.keys import AFTER_ALL, WorkflowKeys, workflow_prefix
from holdfast_server.stores.base import ObjectStore, ObjectSummary, StoreDamagedError
from holdfast_server.stores.listing import list_all

_ALL = "ns/"
_KEPT_OBJECTS = 1000
# For work on a whole store: few requests, and memory that stays bounded.
WHOLE_STORE_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Inventory:
    """The objects of a workflow, as they were at the time of a listing or later.

    Attributes:
        store: the store.
        prefix: what the keys of the workflow begin with.
        kept: the objects, in key order; None if they are too many to keep.

    """

    store: ObjectStore
    prefix: str
    kept: Sequence[ObjectSummary] | None

    async def below(self, prefix: str, *, start_after: str = "") -> AsyncGenerator[ObjectSummary]:
        """Yield the objects with keys that begin with `prefix` and follow `start_after`, in key order."""
        if self.kept is None:
            async for each in list_all(self.store, prefix, start_after=start_after):
                yield each
        else:
            for each in _below(self.kept, prefix, start_after):
                yield each

    async def markers(
        self, keys: WorkflowKeys, *, below: int | None = None
    ) -> AsyncGenerator[tuple[int, ObjectSummary]]:
        """Yield the revisions and commit markers, newest first; if `below` is given, only those below that revision."""
        async for each in self.below(keys.log, start_after="" if below is None else keys.marker(below)):
            revision = keys.revision(each.key)
            if revision is not None:
                yield revision, each

    async def newest(self, keys: WorkflowKeys, *, before_seconds: float = inf) -> int | None:
        """Return the newest revision committed before a time of the store's own clock; None if there is none."""
        async with aclosing(self.markers(keys)) as markers:
            async for revision, each in markers:
                if each.modified_seconds <= before_seconds:
                    return revision
        return None


async def take(store: ObjectStore, prefix: str) -> Inventory:
    """Return the inventory of one workflow, from one listing."""
    page = await store.list(prefix, limit=_KEPT_OBJECTS)
    return Inventory(store, prefix, page if len(page) < _KEPT_OBJECTS else None)


async def inventories(
    store: ObjectStore,
    *,
    below: str = _ALL,
    after: str = "",
    page_objects: int = WHOLE_STORE_PAGE,
    on_foreign: Callable[[str], None] = lambda key: None,
    on_damaged: Callable[[str, StoreDamagedError], None] = lambda key, error: None,
) -> AsyncGenerator[Inventory]:
    """Yield the inventories of the workflows of a store, in key order.

    Args:
        store: the store.
        below: what the prefixes of the workflows begin with, a whole number of steps.
        after: the prefix of the workflow after which to begin; "" for the start.
        page_objects: how many objects to list at a time, at least as many as an inventory keeps.
        on_foreign: called with the key of each object that belongs to no workflow.
        on_damaged: called with a key before objects that the store cannot list, and why. The workflows that may have
            some of them are left out.

    Raises:
        StoreError: the store cannot be used.

    """
    last = after
    position: str | None = f"{after}{AFTER_ALL}" if after else ""
    while position is not None:
        try:
            page = await store.list(below, start_after=position, limit=page_objects)
            found, position = _workflows_of(page, position, page_objects)
        except StoreDamagedError as error:
            on_damaged(error.listed[-1].key if error.listed else position or below, error)
            # The workflows before and after the damage may have objects in it.
            found, position = _by_workflow(error.listed)[:-1], _after_damage(error)
        else:
            if not page:
                return
        for prefix, objects in found:
            if prefix is None:
                for each in objects:
                    on_foreign(each.key)
            # The keys of foreign objects may sort even after AFTER_ALL.
            elif prefix != last:
                last = prefix
                yield Inventory(store, prefix, objects if len(objects) < _KEPT_OBJECTS else None)


def _by_workflow(page: Sequence[ObjectSummary]) -> list[tuple[str | None, tuple[ObjectSummary, ...]]]:
    return [(prefix, tuple(each)) for prefix, each in groupby(page, lambda each: workflow_prefix(each.key))]


def _workflows_of(
    page: Sequence[ObjectSummary], position: str, page_objects: int
) -> tuple[list[tuple[str | None, tuple[ObjectSummary, ...]]], str]:
    """Return the workflows of a page that are listed completely or are large, and the position of the next page."""
    found = _by_workflow(page)
    if not found:
        return found, position
    position = page[-1].key
    prefix, objects = found[-1]
    if prefix is not None and len(page) == page_objects:
        # The last workflow of the page may have more objects. It is skipped if it is large, otherwise listed again.
        if len(objects) >= _KEPT_OBJECTS:
            position = max(position, f"{prefix}{AFTER_ALL}")
        else:
            found.pop()
            position = found[-1][1][-1].key
    return found, position


def _after_damage(error: StoreDamagedError) -> str | None:
    """Return the position after the workflow with the first object that can be listed again; None if there is none."""
    if error.resume_at is None:
        return None
    return f"{workflow_prefix(error.resume_at) or error.resume_at}{AFTER_ALL}"


def _below(objects: Sequence[ObjectSummary], prefix: str, start_after: str = "") -> Iterator[ObjectSummary]:
    find, key = (bisect_right, start_after) if start_after >= prefix else (bisect_left, prefix)
    first = find(objects, key, key=attrgetter("key"))
    return takewhile(lambda each: each.key.startswith(prefix), islice(objects, first, None))
