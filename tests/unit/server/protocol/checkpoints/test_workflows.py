"""Lists of the workflows whose ids begin with a prefix."""

from itertools import chain

import pytest
from holdfast_server.protocol.checkpoints import workflows
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.memory import MemoryStore
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.inline_loop import run
from tests.support.workflows import GRACE, Workflow

# Few letters, so that ids share prefixes; some of them are escaped, and one is two bytes.
ids = st.one_of(
    st.text("a:.~%\N{LATIN SMALL LETTER U WITH DIAERESIS}", min_size=1, max_size=6),
    st.text("a:", min_size=190, max_size=210),
)


async def filled(names) -> Log:
    log = Log(MemoryStore(), grace_seconds=GRACE)
    for name in names:
        await Workflow(log, WorkflowKeys("n", name)).save()
    return log


async def pages(log, id_prefix, size):
    token, listed = None, []
    while token != "":
        found = await workflows.page(log, "n", token or "", size, id_prefix)
        listed.append([head.marker.workflow_id for head in found.heads])
        token = found.next_token
    return listed


@given(st.sets(ids, max_size=8), ids, st.integers(1, 3))
@example({"a" * 200, "a" * 201, "b" * 201}, "a", 1)
@example({"a", "a:", "b"}, "a" * 201, 1)
def test_exactly_the_workflows_with_the_prefix_are_listed_each_once(names, id_prefix, size):
    async def check():
        listed = await pages(await filled(names), id_prefix, size)
        assert sorted(chain(*listed)) == sorted(each for each in names if each.startswith(id_prefix))
        assert all(len(each) <= size for each in listed)

    run(check())


async def test_workflows_with_other_ids_are_not_read():
    class Watched(MemoryStore):
        async def get(self, key, **which):
            read.append(key)
            return await super().get(key, **which)

    read: list[str] = []
    log = await filled(["a:1", "a:2", *(f"b:{number}" for number in range(50))])
    watched = Watched()
    watched.objects = log.store.objects
    assert await pages(Log(watched, grace_seconds=GRACE), "a:", 10) == [["a:1", "a:2"]]
    assert len(read) == 2


async def test_a_page_ends_after_many_long_ids_without_the_prefix(monkeypatch):
    monkeypatch.setattr(workflows, "_MAX_EXAMINED", 3)
    log = await filled([*(f"{number}{'b' * 250}" for number in range(7)), "a" * 250])
    listed = await pages(log, "a", 10)
    assert len(listed) == 3
    assert list(chain(*listed)) == ["a" * 250]


@pytest.mark.parametrize("id_prefix", ["b", "a~", "zz"])
async def test_a_token_of_another_prefix_returns_only_matching_workflows(id_prefix):
    log = await filled(["a", "b", "bb", "c"])
    token = (await workflows.page(log, "n", "", 1, "b")).next_token
    found = await workflows.page(log, "n", token, 10, id_prefix)
    assert [head.marker.workflow_id for head in found.heads] == (["bb"] if id_prefix == "b" else [])
