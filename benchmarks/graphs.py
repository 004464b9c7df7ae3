"""Runs of a LangGraph graph and reads of its state, with Holdfast's saver and with others."""

import operator
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph

from benchmarks.savers import Saver
from benchmarks.small import Subject

STEPS = 10
_TEXT = "x" * 1024


class _State(TypedDict):
    step: int
    messages: Annotated[list[str], operator.add]


async def _answer(state: _State) -> dict[str, Any]:
    return {"step": state["step"] + 1, "messages": [_TEXT]}


@asynccontextmanager
async def conversation(opened: AbstractAsyncContextManager[Saver]) -> AsyncIterator[Subject]:
    """Measure a conversation of ten steps, each one KiB longer and checkpointed, and a read of its last state."""
    builder = StateGraph(_State)
    builder.add_node("answer", _answer)
    builder.add_edge(START, "answer")
    builder.add_conditional_edges("answer", lambda state: END if state["step"] == STEPS else "answer")
    run = uuid.uuid4().hex[:8]

    def config(caller: int, count: int) -> Any:
        return {"configurable": {"thread_id": f"{run}-{caller}-{count}"}}

    async with opened as saver:
        graph = builder.compile(checkpointer=saver)
        yield Subject(
            lambda caller, count: graph.ainvoke({"step": 0, "messages": []}, config(caller, count)),
            lambda caller, count: graph.aget_state(config(caller, 0)),
        )
