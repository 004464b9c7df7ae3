"""Runs of a LangGraph graph and reads of its state, with Holdfast's saver and with others."""

import operator
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph

from benchmarks import savers, servers
from benchmarks.measure import Subject, compare
from benchmarks.report import print_figures
from benchmarks.savers import Saver
from benchmarks.setting import EMBEDDED, POSTGRES, REMOTE, SQLITE, Setting

STEPS = 10
_TEXT = "x" * 1024


class _State(TypedDict):
    step: int
    messages: Annotated[list[str], operator.add]


async def _answer(state: _State) -> dict[str, Any]:
    return {"step": state["step"] + 1, "messages": [_TEXT]}


def graph(steps: int) -> "StateGraph[Any]":
    """Return a graph that runs for a number of steps. Each makes its state one KiB longer."""
    builder = StateGraph(_State)
    builder.add_node("answer", _answer)
    builder.add_edge(START, "answer")
    builder.add_conditional_edges("answer", lambda state: END if state["step"] == steps else "answer")
    return builder


def begun() -> Any:
    """Return the state that a graph begins with."""
    return {"step": 0, "messages": []}


@asynccontextmanager
async def conversation(opened: AbstractAsyncContextManager[Saver], *servers: int) -> AsyncIterator[Subject]:
    """Measure a conversation of ten steps, each one KiB longer and checkpointed, and a read of its last state."""
    run = uuid.uuid4().hex[:8]
    numbers = count()
    last: dict[int, Any] = {}

    async with opened as saver:
        compiled = graph(STEPS).compile(checkpointer=saver)

        async def converse(caller: int) -> None:
            config: Any = {"configurable": {"thread_id": f"{run}-{next(numbers)}"}}
            await compiled.ainvoke(begun(), config)
            last[caller] = config

        yield Subject(converse, lambda caller: compiled.aget_state(last[caller]), servers)


async def run(setting: Setting) -> None:
    """Measure and print conversations and reads of their states."""
    stores = setting.folder / "graphs"
    stores.mkdir()
    with servers.holdfast((stores / "remote").as_uri()) as (target, pid):
        opened = {
            REMOTE: conversation(savers.holdfast(target), pid),
            EMBEDDED: conversation(savers.holdfast((stores / "embedded").as_uri())),
            "in memory": conversation(savers.memory()),
            SQLITE: conversation(savers.sqlite(stores)),
        }
        if setting.postgres:
            opened[POSTGRES] = conversation(savers.postgres(setting.postgres.url), setting.postgres.pid)
        figures = await compare(opened, setting.effort)
    beside = [name for name in (SQLITE, POSTGRES) if name in opened]
    print_figures(f"LangGraph, conversations of {STEPS} steps (load: reads of their states)", figures, beside)
