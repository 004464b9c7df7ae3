"""Graphs of LangGraph whose state is in Holdfast, and that are killed."""

import operator
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from tests.integration.adapters import kill_points, killing, pages
from tests.support.required import require_engine

require_engine("langgraph.graph")

from holdfast.adapters.langgraph import HoldfastSaver  # noqa: E402
from langgraph.channels import DeltaChannel  # noqa: E402
from langgraph.checkpoint.memory import InMemorySaver  # noqa: E402
from langgraph.graph import START, StateGraph  # noqa: E402
from langgraph.types import Command, Send, interrupt  # noqa: E402

PROGRAM = "tests.integration.adapters.programs.langgraph_graph"
AT: Any = {"configurable": {"thread_id": "t"}}


@pytest.fixture
async def saver(target: str) -> AsyncIterator[HoldfastSaver]:
    async with HoldfastSaver.from_target(target, namespace=uuid.uuid4().hex) as opened:
        yield opened


class Notes(TypedDict):
    notes: Annotated[
        list[str], DeltaChannel(lambda kept, given: [*kept, *(x for xs in given for x in xs)], snapshot_frequency=4)
    ]
    plain: Annotated[list[str], operator.add]


def notes(saver: Any) -> Any:
    """Return a graph whose notes are rebuilt from the writes since their last snapshot."""

    def plan(state: Notes) -> Any:
        return {"notes": [f"plan {len(state['notes'])}"], "plain": ["plan"]}

    def work(state: Any) -> Any:
        return {"notes": [f"work {state['n']}"], "plain": ["work"]}

    builder = StateGraph(Notes)
    builder.add_node("plan", plan)
    builder.add_node("work", work)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", lambda state: [Send("work", {"n": n}) for n in range(12)], ["work"])
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_graph_with_delta_channels_continues_as_in_memory_also_after_a_prune(saver, durability):
    graph, reference = notes(saver), notes(InMemorySaver())
    for n in range(7):
        given = {"notes": [f"input {n}"], "plain": []}
        for each in (graph, reference):
            await each.ainvoke(given, AT, durability=durability)
        found = (await graph.aget_state(AT)).values
        assert found == (await reference.aget_state(AT)).values
        assert len(found["notes"]) == 14 * (n + 1)
        if n % 2:
            await saver.aprune(["t"])
    assert len([each async for each in saver.alist(AT)]) < 15


async def test_the_history_of_a_graph_is_as_in_memory(saver):
    graphs = [notes(each) for each in (saver, InMemorySaver())]
    for n in range(3):
        for graph in graphs:
            await graph.ainvoke({"notes": [f"input {n}"], "plain": []}, AT)
    found, wanted = [
        [(each.values, each.next, each.metadata) async for each in graph.aget_state_history(AT)] for graph in graphs
    ]
    assert found == wanted


async def test_a_graph_continues_from_a_fork_in_its_past(saver):
    values = []
    for graph in (notes(saver), notes(InMemorySaver())):
        for n in range(3):
            await graph.ainvoke({"notes": [f"input {n}"], "plain": []}, AT)
        history = [each async for each in graph.aget_state_history(AT)]
        forked = await graph.aupdate_state(history[5].config, {"notes": ["fork"], "plain": ["fork"]}, as_node="work")
        await graph.ainvoke({"notes": ["behind"], "plain": []}, forked)
        values.append((await graph.aget_state(AT)).values)
    assert values[0] == values[1]
    assert "fork" in values[0]["notes"]


def asking(saver: Any) -> Any:
    """Return a graph whose inner graph asks a question."""

    class State(TypedDict):
        answers: Annotated[list[str], operator.add]

    def ask(state: State) -> Any:
        return {"answers": [interrupt("name?")]}

    inner = StateGraph(State)
    inner.add_node("ask", ask)
    inner.add_edge(START, "ask")
    outer = StateGraph(State)
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "inner")
    return outer.compile(checkpointer=saver)


async def test_a_question_of_an_inner_graph_can_be_answered_by_another_process(saver, target):
    await asking(saver).ainvoke({"answers": []}, AT)
    async with HoldfastSaver.from_target(target, namespace=saver._namespace) as another:
        graph = asking(another)
        assert [each.value for each in (await graph.aget_state(AT)).interrupts] == ["name?"]
        assert await graph.ainvoke(Command(resume="Zoë"), AT) == {"answers": ["Zoë"]}
    await saver.adelete_thread("t")
    assert [each async for each in saver.alist(None)] == []


def test_a_graph_runs_with_the_synchronous_methods_as_well(target):
    with HoldfastSaver.from_target(target, namespace=uuid.uuid4().hex) as saver:
        graph = notes(saver)
        for n in range(2):
            found = graph.invoke({"notes": [f"input {n}"], "plain": []}, AT)
        assert len(found["notes"]) == 28
        assert graph.get_state(AT).values == found
        assert len(list(graph.get_state_history(AT))) == 8


TYPED = """
import sys
from dataclasses import dataclass
from typing import TypedDict
from holdfast.adapters.langgraph import HoldfastSaver
from langgraph.graph import StateGraph
from langgraph.types import Command, interrupt

@dataclass
class Draft:
    title: str

class State(TypedDict):
    draft: Draft

with HoldfastSaver.from_target(sys.argv[1], namespace=sys.argv[2]) as saver:
    builder = StateGraph(State).add_node("ask", lambda state: {"draft": Draft(interrupt(state["draft"].title))})
    graph = builder.set_entry_point("ask").compile(checkpointer=saver)
    graph.invoke({"draft": Draft("old")}, {"configurable": {"thread_id": "t"}})
    print(graph.get_state({"configurable": {"thread_id": "t"}}).values["draft"])
"""


@pytest.mark.parametrize("strict", ["true", "false"])
def test_the_types_of_a_graph_s_state_come_back_whether_strict_or_not(target, strict):
    found = subprocess.run(
        [sys.executable, "-c", TYPED, target, uuid.uuid4().hex],
        env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": strict},
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        check=True,
    )
    assert found.stdout == "Draft(title='old')\n"


def test_the_code_of_the_page_runs_as_written(tmp_path):
    assert pages.output_of("langgraph", tmp_path) == "2\n"


@pytest.fixture(scope="module")
def calm(target: str, tmp_path_factory: pytest.TempPathFactory) -> killing.Run:
    return killing.run(PROGRAM, target, tmp_path_factory.mktemp("calm") / "run")


@pytest.mark.parametrize("tenth", kill_points.TENTHS)
def test_a_graph_that_is_killed_anywhere_ends_as_if_it_had_not_been(
    calm: killing.Run, target: str, tmp_path: Path, tenth: int
) -> None:
    kill_at = kill_points.ten_points(calm)[tenth]
    killed = killing.run(PROGRAM, target, tmp_path / "run", kill_at=kill_at)
    assert killed.kills == 1
    assert killed.result == calm.result
    before, after = killed.points[:kill_at], killed.points[kill_at:]
    # A node whose writes were saved never runs again; any other runs at most once more.
    again = set(named("begin", before)) & set(named("begin", after))
    assert again & set(named("saved writes of", before)) == set()
    for node in set(named("begin", calm.points)):
        runs = named("begin", killed.points).count(node)
        assert 0 <= runs - named("begin", calm.points).count(node) <= (node in again)


def named(what: str, points: list[str]) -> list[str]:
    return [point.removeprefix(f"{what} ") for point in points if point.startswith(f"{what} ")]
