"""A graph with three parallel branches, one of them an inner graph, and a question to a human.

With `durability="sync"`, a node may run twice if the process died while it ran, or before its writes were committed. A
node whose writes were saved never runs again, even if other nodes of its step do. This holds for nodes of the inner
graph as well. The node that asks runs once to ask and once more with the answer, as specified by LangGraph.
"""

import asyncio
import json
import operator
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

from holdfast.adapters.langgraph import HoldfastSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from tests.integration.adapters.killing import point


class Points(HoldfastSaver):
    """The saver, with a point before and after each save."""

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        point(f"saving step {metadata['step']}")
        saved = await super().aput(config, checkpoint, metadata, new_versions)
        point(f"saved step {metadata['step']}")
        return saved

    async def aput_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        node = task_path.rpartition(", ")[2] or "nobody"
        what = "question" if any(channel == "__interrupt__" for channel, _ in writes) else "writes"
        point(f"saving {what} of {node}")
        await super().aput_writes(config, writes, task_id, task_path)
        point(f"saved {what} of {node}")


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    answer: str


def node(name: str) -> Callable[[State], Any]:
    """Return a node that logs that it ran."""

    async def run(state: State) -> State:
        point(f"begin {name}")
        # Let the other nodes of the step run.
        await asyncio.sleep(0)
        point(f"end {name}")
        return {"log": [f"{name} after {len(state['log'])}"]}

    return run


def ask(state: State) -> State:
    """Ask a question, to be answered when the graph is resumed."""
    point("begin ask")
    answer = interrupt({"question": "publish?", "log": state["log"]})
    point("end ask")
    return {"answer": answer, "log": [f"answered {answer}"]}


class Inner(TypedDict):
    log: Annotated[list[str], operator.add]
    notes: Annotated[list[str], operator.add]


def inner() -> Any:
    """Return a graph whose notes are only in its own checkpoints."""

    async def dig(state: Inner) -> Any:
        point("begin dig")
        point("end dig")
        return {"notes": ["dug"]}

    async def refine(state: Inner) -> Any:
        point("begin refine")
        point("end refine")
        return {"notes": ["refined"]}

    builder = StateGraph(Inner)
    for each in (dig, refine):
        builder.add_node(each)
    builder.add_edge(START, "dig")
    builder.add_edge("dig", "refine")
    return builder.compile()


def graph(saver: Any) -> Any:
    """Return the graph."""
    within = inner()

    async def deep(state: State) -> State:
        found = await within.ainvoke({"log": [], "notes": []})
        return {"log": [f"deep: {', '.join(found['notes'])}"]}

    builder = StateGraph(State)
    for name in ("prepare", "left", "right", "join", "finish"):
        builder.add_node(name, node(name))
    builder.add_node("deep", deep)
    builder.add_node("ask", ask)
    builder.add_edge(START, "prepare")
    for branch in ("left", "right", "deep"):
        builder.add_edge("prepare", branch)
    builder.add_edge(["left", "right", "deep"], "join")
    builder.add_edge("join", "ask")
    builder.add_edge("ask", "finish")
    builder.add_edge("finish", END)
    return builder.compile(checkpointer=saver)


async def run(target: str, namespace: str) -> Any:
    """Run the graph from its latest checkpoint, answer its question, and return its final values."""
    config: Any = {"configurable": {"thread_id": "article"}}
    async with Points.from_target(target, namespace=namespace, timeout=60) as saver:
        program = graph(saver)
        while True:
            state = await program.aget_state(config)
            if state.created_at is None:
                given: Any = {"log": ["begun"]}
            elif state.interrupts:
                given = Command(resume="yes")
            elif state.tasks:
                given = None
            else:
                return state.values
            await program.ainvoke(given, config, durability="sync")


def main(target: str, result: Path) -> None:
    """Run the graph and write its final values to the result."""
    result.write_text(json.dumps(asyncio.run(run(target, result.parent.parent.name))))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
