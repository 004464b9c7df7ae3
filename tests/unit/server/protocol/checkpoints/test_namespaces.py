"""Lists of the namespaces that a caller may see."""

from itertools import chain

import pytest
from holdfast_server.protocol.checkpoints import namespaces
from holdfast_server.protocol.checkpoints.namespaces import Visible
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.memory import MemoryStore
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.bounded_store import BoundedStore
from tests.support.inline_loop import run
from tests.support.workflows import GRACE, Workflow

LONG = "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 60
# Few letters, so that names share prefixes; some of them are escaped, and long names are replaced by digests.
names = st.one_of(
    st.text("a:.~%-\N{LATIN SMALL LETTER U WITH DIAERESIS}", min_size=1, max_size=4).filter(
        lambda each: each not in (".", "..")
    ),
    st.sampled_from([LONG[: length // 2] + "a" * (length % 2) for length in (66, 67, 68, 70)]),
    st.sampled_from(["a" + LONG, "a-" + LONG, LONG + "a"]),
)
visible = st.builds(Visible, st.frozensets(names, max_size=3), st.frozensets(st.one_of(names, st.just("")), max_size=3))


async def filled(given, store=None, workflows=("w",)) -> Log:
    log = Log(store or MemoryStore(), grace_seconds=GRACE)
    for name in given:
        for workflow in workflows:
            await Workflow(log, WorkflowKeys(name, workflow)).save()
    return log


async def pages(log, shown=None, size=10):
    token, listed = None, []
    while token != "":
        found = await namespaces.page(log, shown or Visible.everything(), token or "", size)
        listed.append(list(found.namespaces))
        token = found.next_token
    return listed


@given(st.sets(names, max_size=6), visible, st.one_of(st.just(""), names), st.integers(1, 3))
@example({"a" + LONG, "b" + LONG, LONG}, Visible.everything(), "", 1)
@example({"a", "a-", "a:", "b"}, Visible(frozenset({"b"}), frozenset({"a-", "a"})), "", 1)
@example({"a", "aa", "ab", "b"}, Visible(frozenset(), frozenset({"a"})), "aa", 1)
def test_exactly_the_visible_namespaces_with_the_prefix_are_listed_each_once(given_names, shown, prefix, size):
    async def check():
        listed = await pages(await filled(given_names), shown.within(prefix), size)
        expected = [
            each
            for each in given_names
            if each.startswith(prefix)
            and (each in shown.names or any(each.startswith(beginning) for beginning in shown.beginnings))
        ]
        assert sorted(chain(*listed)) == sorted(expected)
        assert all(len(each) <= size for each in listed)

    run(check())


async def test_a_namespace_costs_one_lookup_however_many_workflows_it_has():
    log = await filled(["a", "b", "c"], BoundedStore(), [f"w{number}" for number in range(20)])
    log.store.requests = 0
    assert await pages(log) == [["a", "b", "c"]]
    assert log.store.requests == 4


async def test_namespaces_that_are_not_visible_cost_nothing():
    log = await filled(["a", "team-1", "team-2", "z", *(f"other-{number}" for number in range(50))], BoundedStore())
    log.store.requests = 0
    assert await pages(log, Visible(frozenset({"a", "none"}), frozenset({"team-"}))) == [["a", "team-1", "team-2"]]
    # Three places and the digests, each with a last look-up without a result where one was found before.
    assert log.store.requests <= 8


async def test_a_page_token_names_no_namespace_that_is_not_visible():
    log = await filled(["hidden-1", "shown-1", "shown-2", "shown-2-hidden"])
    shown = Visible(frozenset({"shown-1", "shown-2"}), frozenset())
    first = await namespaces.page(log, shown, "", 1)
    assert namespaces._decoded(first.next_token) == "ns/shown-1/~"


async def test_a_page_of_few_visible_ones_among_many_ends_early_and_the_list_is_whole(monkeypatch):
    monkeypatch.setattr(namespaces, "_MORE_LOOKUPS", 2)
    # Their keys show digests only, so that each of them must be read.
    log = await filled([*(f"{number}{LONG}" for number in range(9)), "a" + LONG])
    listed = await pages(log, Visible(frozenset(), frozenset({"a"})), 1)
    assert len(listed) > 2
    assert [] in listed
    assert list(chain(*listed)) == ["a" + LONG]


async def test_many_exact_names_without_objects_are_looked_up_over_several_pages(monkeypatch):
    monkeypatch.setattr(namespaces, "_MORE_LOOKUPS", 2)
    log = await filled(["n5"], BoundedStore())
    shown = Visible(frozenset(f"n{number}" for number in range(9)), frozenset())
    listed = await pages(log, shown, 1)
    assert len(listed) > 2
    assert list(chain(*listed)) == ["n5"]


async def test_objects_of_others_are_no_namespaces():
    log = await filled(["a", "b"])
    for key in ("ns/a-foreign", "ns/a-x/y", "ns/%41/wf/w/log/fff/fff/ffe", "ns/%2F/wf/w/x", "ns/zz/w", "other/x"):
        log.store.objects.write(key, b"x")
    assert await pages(log, size=1) == [["a"], ["b"], []]
    assert await pages(log) == [["a", "b"]]


async def test_a_long_name_is_read_from_another_workflow_if_one_is_damaged():
    log = await filled([LONG], workflows=["v", "w"])
    keys = WorkflowKeys(LONG, "v")
    log.store.objects.write(keys.marker(1), b"damaged")
    fresh = Log(log.store, grace_seconds=GRACE)
    assert await pages(fresh) == [[LONG]]
    log.store.objects.write(WorkflowKeys(LONG, "w").marker(1), b"damaged")
    assert await pages(Log(log.store, grace_seconds=GRACE)) == [[]]


@pytest.mark.parametrize("token", ["?", "Li4vLi4v", "YQ==", "x" * 1_000_000])
async def test_a_token_that_was_not_issued_is_refused(token):
    with pytest.raises(HoldfastError, match="page_token"):
        await namespaces.page(Log(MemoryStore(), grace_seconds=GRACE), Visible.everything(), token, 1)
