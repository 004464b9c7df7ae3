"""The entries of a log, in pages: each revision once, newest first, whatever became of it."""

import uuid

from holdfast_server.layout.v1.marker_pb2 import MarkerKind
from holdfast_server.protocol.checkpoints import fence, log_pages, prune
from holdfast_server.protocol.checkpoints.heads import NamedHead, head_or_skip
from holdfast_server.protocol.checkpoints.log_pages import walk_items
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format.keys import MAX_REVISION
from holdfast_server.protocol.format.revision_set import RevisionSet
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.memory import MemoryStore
from hypothesis import given
from hypothesis import strategies as st

from tests.support.inline_loop import run
from tests.support.workflows import GRACE, KEYS, Workflow, damage, workflow

CHANGES = ("save", "save", "save", "replace", "delete", "prune", "collect", "fence", "delete_workflow")
BOUNDS = st.one_of(st.none(), st.integers(0, 20))


async def change(of: Workflow, kind: str, number: int) -> None:
    """Make one change. A change that the state of the log forbids makes none."""
    request = Request(KEYS, uuid.uuid4().hex)
    try:
        if kind == "save":
            await of.save(checkpoint_id=f"c{number}")
        elif kind == "replace":
            await of.save(checkpoint_id="same", replace=True)
        elif kind == "delete":
            await of.delete(f"c{number // 2}")
        elif kind == "prune":
            await prune.prune(of.log, request, 1 + number % 3, deadline=of.deadline())
        elif kind == "fence":
            await fence.acquire_writer(of.log, request, deadline=of.deadline())
        elif kind == "delete_workflow":
            await of.delete_workflow()
        else:
            for passed in (0.0, GRACE * 1.5, GRACE * 3):
                await of.collect(Retention(keep_last=2), passed=passed * number)
    except HoldfastError:
        pass


async def walked(log: Log, size: int, above: int = 0, below: int = MAX_REVISION + 1) -> list[log_pages.Item]:
    """Return the items of all pages."""
    found: list[log_pages.Item] = []
    while not found or found[-1].first - 1 > above:
        damaged = []
        head = await head_or_skip(log, KEYS, damaged)
        newest = NamedHead.of(head, damaged).revision
        page = [each async for each in walk_items(log, KEYS, newest, head, above=above, below=below, size=size)]
        assert len(page) <= size
        if not page:
            return found
        found += page
        below = page[-1].first
    return found


@given(
    st.lists(st.sampled_from(CHANGES), min_size=1, max_size=14),
    st.sets(st.integers(1, 14), max_size=2),
    st.sets(st.integers(1, 14), max_size=2),
    st.integers(1, 6),
    BOUNDS,
    BOUNDS,
)
def test_pages_have_each_revision_once_with_its_effect_and_its_fate(changes, damaged, lost, size, above, below):
    async def check():
        of = workflow()
        for number, kind in enumerate(["save", *changes]):
            await change(of, kind, number)
        newest = await of.log.known_revision(KEYS)
        objects = of.log.store.objects.by_key
        for revision in (damaged | lost) & set(range(1, newest)):
            if KEYS.marker(revision) in objects:
                damage(of, KEYS.marker(revision))
                if revision in lost:
                    await of.log.store.delete(KEYS.marker(revision))
        fresh = Log(of.log.store, grace_seconds=GRACE)
        head = await fresh.head(KEYS)
        entries = {each: await fresh.retried_reader.read_or_damage(KEYS, each) for each in range(1, newest + 1)}
        low, high = above or 0, newest + 1 if below is None else below
        items = await walked(fresh, size, low, high)
        shown = [each for item in items for each in range(item.revisions[1], item.first - 1, -1)]
        assert shown == list(range(min(newest, high - 1), low, -1))
        gone = {each: found.gone if isinstance(found, Entry) else None for each, found in entries.items()}
        for item in items:
            revision = item.revisions[1]
            if revision <= head.marker.floor:
                assert (item.entry, item.damage) == (None, None)
            elif item.entry is None:
                assert item.damage is not None
                assert all(not isinstance(entries[each], Entry) for each in range(item.first, revision + 1))
            else:
                assert item.first == revision
                assert item.entry.digest == entries[revision].digest
                _require_effect(item, gone, head)

    run(check())


def _require_effect(item: log_pages.Item, gone: dict[int, RevisionSet | None], head: Entry) -> None:
    revision = item.revisions[1]
    marker = item.entry.marker
    affected = {each for first, last in item.affected for each in range(first, last + 1)}
    before = gone.get(revision - 1)
    if marker.kind in (MarkerKind.MARKER_KIND_DELETED, MarkerKind.MARKER_KIND_GC) and before is not None:
        assert affected == {each for each in range(1, revision) if gone[revision](each) and not before(each)}
    elif marker.replaced_revision:
        assert affected == {marker.replaced_revision}
    else:
        assert not affected
    if marker.kind == MarkerKind.MARKER_KIND_DATA:
        assert item.is_deleted == head.gone(revision)
        later = range(revision + 1, head.revision + 1)
        if item.is_deleted and all(gone[each] is not None for each in later):
            assert item.deletion == next(each for each in later if gone[each](revision))


async def test_a_page_in_the_middle_of_a_long_log_costs_a_page():
    requests = []

    class Counted(MemoryStore):
        async def get(self, key, **which):
            requests.append(key)
            return await super().get(key, **which)

        async def list(self, prefix, **which):
            requests.append(prefix)
            return await super().list(prefix, **which)

    of = workflow()
    part = await of.upload(b"x", inline=100)
    for _ in range(400):
        await of.save(parts=[part])
    await prune.prune(of.log, Request(KEYS, "prune"), 1, deadline=of.deadline())
    store = Counted()
    store.objects = of.log.store.objects
    log = Log(store)
    head = await log.head(KEYS)
    requests.clear()
    items = [each async for each in walk_items(log, KEYS, head.revision, head, above=0, below=200, size=20)]
    assert [each.deletion for each in items] == [401] * 20
    # Two for each doubling of the distance to the head.
    assert len(requests) <= 20 + 2 * 9


async def test_a_log_of_billions_of_missing_revisions_is_one_item():
    of = workflow()
    await of.save()
    await of.save()
    head = await of.log.head(KEYS)
    claimed = Entry(head.marker, head.digest, head.size_bytes)
    claimed.marker.revision = MAX_REVISION
    items = [
        each async for each in walk_items(of.log, KEYS, MAX_REVISION, claimed, above=0, below=MAX_REVISION, size=9)
    ]
    assert [each.revisions for each in items] == [(3, MAX_REVISION - 1), (2, 2), (1, 1)]
