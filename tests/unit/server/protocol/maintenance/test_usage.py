"""Usage of workflows: equal to a naive count, page by page, and bounded, also where the store is damaged."""

import base64
import time

import pytest
from holdfast_server.protocol.checkpoints import workflows
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.format.revision_set import RevisionSet
from holdfast_server.protocol.maintenance import inventory, usage, usage_pages
from holdfast_server.protocol.maintenance.usage import Limits, Usage
from holdfast_server.stores.base import StoreDamagedError
from holdfast_server.stores.memory import MemoryStore
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.budget import amount
from tests.support.deltas import Counting
from tests.support.mac_keys import keyed
from tests.support.usage import ALL_ACTIONS, FIELDS, Workflows, figures, measured, naive
from tests.support.workflows import Workflow, damage

KEYS = WorkflowKeys("n", "w")


async def worked_on(store, actions, seed=0):
    found = Workflows(store, seed)
    for action in actions:
        await found.act(action)
    return found


async def of_one(log, keys=KEYS, *, reads_markers=True, end_seconds=float("inf")):
    token, unfinished = "", []
    while True:
        page = await usage_pages.page_of_one(log, keys, token, reads_markers=reads_markers, end_seconds=end_seconds)
        if not page.next_token:
            return page, unfinished
        unfinished.append(page.unfinished)
        token = page.next_token


@settings(max_examples=amount(small=40, full=400), deadline=None)
@given(st.lists(st.sampled_from(ALL_ACTIONS), max_size=40), st.integers(0, 1 << 20), st.booleans())
async def test_usage_equals_a_naive_count(actions, seed, has_macs):
    store = keyed(MemoryStore()) if has_macs else MemoryStore()
    run = await worked_on(store, actions, seed)
    expected = {each.keys.prefix: await naive(each) for each in run.runs}
    expected = {prefix: each for prefix, each in expected.items() if each["objects"]}
    found, _ = await measured(run.log)
    assert {prefix: figures(each.usage) for prefix, each in found.items()} == expected
    stored, _ = await measured(run.log, size=1, reads_markers=False)
    assert {prefix: {name: getattr(each.usage, name) for name in FIELDS} for prefix, each in stored.items()} == {
        prefix: {name: each[name] for name in FIELDS} for prefix, each in expected.items()
    }
    for each in run.runs:
        taken = await inventory.take(run.log.store, each.keys.prefix)
        assert await usage.stored_bytes(taken) == expected.get(each.keys.prefix, {"stored_bytes": 0})["stored_bytes"]


@settings(max_examples=amount(small=20, full=200), deadline=None)
@given(st.lists(st.sampled_from(ALL_ACTIONS), max_size=30), st.integers(0, 1 << 20), st.integers(1, 5))
async def test_a_measurement_can_stop_after_any_object(actions, seed, step):
    run = await worked_on(MemoryStore(), actions, seed)
    for each in run.runs:
        whole = await usage.measure(run.log, await inventory.take(run.log.store, each.keys.prefix))
        found, position = Usage(), ""
        while True:
            limits = Limits(step, 1000, float("inf"))
            taken = await inventory.take(run.log.store, each.keys.prefix)
            done = await usage.measure(run.log, taken, usage=found, start_after=position, limits=limits)
            found, position = done.usage, done.position
            if not position:
                break
        assert found == whole.usage


@given(
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5))),
    st.integers(1, 40),
    st.integers(0, 40),
)
def test_revisions_that_are_left_are_counted(floor, lengths, first, length):
    ranges, end = [], floor
    for gap, size in lengths:
        ranges.append((end + gap + 2, end + gap + 2 + size))
        end = ranges[-1][1]
    gone = RevisionSet(floor, ranges)
    assert gone.count_left(first, first + length) == sum(not gone(each) for each in range(first, first + length + 1))
    assert gone.count_left(first, first - 1) == 0


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(usage_pages, "_MAX_OBJECTS", 20)
    monkeypatch.setattr(usage_pages, "_MAX_MARKERS", 10)


async def saved(store, counts, namespace="n"):
    """Save some checkpoints in each of several workflows, and return one of them."""
    for name, count in counts.items():
        run = Workflow(Workflows(store, 0).log, WorkflowKeys(namespace, name))
        part = await run.upload(b"x" * 10, inline=100)
        for _ in range(count):
            await run.save(parts=[part])
    return run


async def test_a_page_measures_a_bounded_number_of_markers(small_pages):
    store = Counting()
    run = await saved(store, {f"w{number}": 4 for number in range(10)})
    token, pages = "", []
    while True:
        store.read.clear()
        page = await usage_pages.page(run.log, "n", token, 1000, reads_markers=True, end_seconds=float("inf"))
        pages.append(len(page.workflows))
        assert len(store.read) <= 10
        token = page.next_token
        if not token:
            break
    assert pages == [2] * 5


async def test_a_large_workflow_takes_several_pages_which_report_what_they_have(small_pages, monkeypatch):
    monkeypatch.setattr(inventory, "_KEPT_OBJECTS", 30)
    monkeypatch.setattr(usage, "_BATCH_MARKERS", 5)
    store = Counting()
    run = await saved(store, {"a": 3, "b": 100, "c": 3})
    token, names, sums = "", [], []
    while True:
        store.read.clear()
        page = await usage_pages.page(run.log, "n", token, 1000, reads_markers=True, end_seconds=float("inf"))
        assert len(store.read) <= 11
        names.append([each.keys.workflow_id for each in page.workflows])
        if page.unfinished is not None:
            assert page.unfinished.keys.workflow_id == "b"
            sums.append(page.unfinished.usage.checkpoints)
        token = page.next_token
        if not token:
            break
    assert names == [["a"], *[[]] * len(sums), ["b"], ["c"]]
    assert sums == list(range(10, 101, 10))
    one, unfinished = await of_one(run.log, WorkflowKeys("n", "b"))
    assert one.workflows[0].usage.checkpoints == 100
    assert len(unfinished) == 10


async def test_a_page_ends_early_when_its_time_is_up():
    run = await saved(MemoryStore(), {f"w{number}": 2 for number in range(5)})
    found, pages = await measured(run.log, end_seconds=time.monotonic() - 1)
    assert len(found) == pages == 5


async def test_a_token_of_a_list_of_workflows_begins_after_that_list():
    run = await saved(MemoryStore(), {f"w{number}": 1 for number in range(5)})
    listed = await workflows.page(run.log, "n", "", 2)
    page = await usage_pages.page(run.log, "n", listed.next_token, 2, reads_markers=True, end_seconds=float("inf"))
    assert [each.keys.workflow_id for each in page.workflows] == ["w2", "w3"]


async def test_only_workflows_with_a_prefix_are_measured_also_if_their_names_are_long():
    names = {"run-1": 1, "run-2": 1, "other": 1, "run-" + "ü" * 100: 1, "ü" * 100: 1}
    run = await saved(MemoryStore(), names)
    await saved(run.log.store, {"run-3": 1}, namespace="other")
    found, _ = await measured(run.log, id_prefix="run-", size=1)
    assert {each.keys.workflow_id for each in found.values()} == {each for each in names if each.startswith("run-")}


@pytest.mark.parametrize("name", ["w", "ü" * 100])
async def test_damaged_and_missing_markers_are_counted_and_the_rest_is_measured(name):
    store = MemoryStore()
    run = await saved(store, {name: 10})
    keys = run.keys
    damage(run, keys.marker(10))
    damage(run, keys.marker(4))
    await store.delete(keys.marker(7))
    await store.delete(keys.marker(6))
    await store.delete(keys.marker(1))
    found, _ = await measured(run.log)
    (each,) = found.values()
    assert each.keys == keys
    assert each.usage.damaged_markers == 5
    assert each.usage.checkpoints == 5
    assert each.usage.head_revision == 10
    assert each.usage.objects == 7


async def test_a_workflow_whose_name_is_lost_is_measured_too():
    store = MemoryStore()
    run = await saved(store, {"ü" * 100: 3})
    for revision in (1, 2, 3):
        damage(run, run.keys.marker(revision))
    found, _ = await measured(run.log)
    (each,) = found.values()
    assert each.keys is None
    assert (each.prefix, each.usage.damaged_markers, each.usage.objects) == (run.keys.prefix, 3, 3)
    assert not (await measured(run.log, id_prefix="ü"))[0]
    one, _ = await of_one(run.log, run.keys)
    assert one.workflows[0].keys == run.keys


async def test_foreign_objects_are_measured_whatever_their_keys(small_pages):
    store = MemoryStore()
    run = await saved(store, {"w": 1})
    for number in range(25):
        await store.put_if_absent(f"{run.keys.prefix}zu viel {number:02d} ü\n", b"12345")
    page, unfinished = await of_one(run.log, run.keys)
    assert (page.workflows[0].usage.objects, len(unfinished)) == (26, 1)
    assert page.workflows[0].usage.deleted_bytes == 125


async def test_remains_of_a_save_that_failed_are_measured():
    run = Workflow(Workflows(MemoryStore(), 0).log, KEYS)
    await run.upload(b"x" * 100)
    page, _ = await of_one(run.log)
    found = page.workflows[0].usage
    assert (found.objects, found.deleted_bytes, found.head_revision, found.checkpoints) == (1, 100, 0, 0)


async def test_a_workflow_of_which_the_store_has_nothing_is_not_found():
    run = Workflow(Workflows(MemoryStore(), 0).log, KEYS)
    with pytest.raises(HoldfastError) as caught:
        await of_one(run.log)
    assert caught.value.reason is Reason.WORKFLOW_NOT_FOUND


class Torn(MemoryStore):
    """A store that cannot list the objects between two keys."""

    after = before = ""

    async def list(self, prefix, *, start_after="", limit=1000):
        listed = await super().list(prefix, start_after=start_after, limit=limit)
        if not any(self.after < each.key < self.before for each in listed):
            return listed
        raise StoreDamagedError(
            "torn",
            listed=[each for each in listed if each.key <= self.after],
            resume_at=self.before,
        )


async def test_listings_that_meet_damage_are_counted_and_the_rest_is_measured():
    store = Torn()
    run = await saved(store, {"a": 5, "b": 5, "c": 5})
    keys = WorkflowKeys("n", "b")
    store.after, store.before = keys.marker(4), keys.marker(1)
    page = await usage_pages.page(run.log, "n", "", 100, reads_markers=True, end_seconds=float("inf"))
    assert [each.keys.workflow_id for each in page.workflows] == ["a", "c"]
    assert page.damaged_listings == 1
    page, _ = await of_one(run.log, keys)
    found = page.workflows[0].usage
    assert page.damaged_listings >= 1
    assert (found.objects, found.checkpoints, found.damaged_markers) == (2, 2, 3)


@pytest.mark.parametrize(
    "state", ["", "x", "log/ 1", "log/ " + "0 " * 10 + "-1", "x" * 1025 + " 0" * 11, "%ff" + " 0" * 11]
)
async def test_a_token_that_was_not_issued_is_refused(state):
    run = await saved(MemoryStore(), {"w": 1})
    token = f"{workflows.token_of(run.keys.prefix)}.{base64.urlsafe_b64encode(state.encode()).decode() or '!'}"
    other = workflows.token_of(WorkflowKeys("n", "other").prefix)
    for call in (
        usage_pages.page(run.log, "n", token, 1, reads_markers=True, end_seconds=0.0),
        usage_pages.page_of_one(run.log, run.keys, token, reads_markers=True, end_seconds=0.0),
        usage_pages.page_of_one(run.log, run.keys, other, reads_markers=True, end_seconds=0.0),
    ):
        with pytest.raises(HoldfastError) as caught:
            await call
        assert caught.value.reason is Reason.INVALID_REQUEST
