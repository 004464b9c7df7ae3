"""A graph with everything that a saver keeps, and the description of its threads."""

import operator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langgraph.channels import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt


@dataclass
class Plan:
    """A value of a class of the program."""

    goal: str
    steps: tuple[int, ...]


def _appended(kept: list[str], given: Any) -> list[str]:
    return [*kept, *(each for group in given for each in group)]


class State(TypedDict):
    log: Annotated[list[str], operator.add]
    notes: Annotated[list[str], DeltaChannel(_appended, snapshot_frequency=3)]
    plan: Any


def graph(saver: Any) -> Any:
    """Return a graph with a subgraph that interrupts twice, parallel tasks, sent tasks and a delta channel."""

    def plan(state: State) -> Any:
        return {"log": ["plan"], "notes": [f"plan {len(state['notes'])}"], "plan": Plan("x", (1, 2))}

    def fan_out(_state: State) -> Any:
        return [Send("work", {"n": n}) for n in range(3)] + ["review"]

    def work(state: Any) -> Any:
        return {"log": [f"work {state['n']}"], "notes": [f"work {state['n']}"]}

    def ask(_state: State) -> Any:
        first = interrupt("first?")
        return {"log": [first, interrupt("second?")], "notes": ["asked"]}

    review = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile(checkpointer=True)
    builder = StateGraph(State).add_node("plan", plan).add_node("work", work).add_node("review", review)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", fan_out, ["work", "review"])
    return builder.compile(checkpointer=saver)


def at(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id}}


class Threads:
    """The threads of a saver.

    Args:
        saver: the saver.
        is_asynchronous: whether only its asynchronous methods work.

    """

    def __init__(self, saver: Any, *, is_asynchronous: bool) -> None:
        self.saver = saver
        self._graph = graph(saver)
        self._is_asynchronous = is_asynchronous

    async def invoke(self, thread_id: str, given: Any) -> Any:
        options: Any = {"durability": "sync"}
        if self._is_asynchronous:
            return await self._graph.ainvoke(given, at(thread_id), **options)
        return self._graph.invoke(given, at(thread_id), **options)

    async def resume(self, thread_id: str, answer: str) -> Any:
        return await self.invoke(thread_id, Command(resume=answer))

    async def fork(self, thread_id: str, back: int) -> None:
        """Update a thread at an older checkpoint."""
        snapshot = (await self.history(thread_id))[back]
        update = snapshot.config, {"log": ["fork"]}, "plan"
        if self._is_asynchronous:
            await self._graph.aupdate_state(*update)
        else:
            self._graph.update_state(*update)

    async def play(self, thread_id: str) -> None:
        """Run a thread to where one of two interrupts is answered and some tasks are done, with a fork before."""
        await self.invoke(thread_id, {"log": ["begin"]})
        await self.resume(thread_id, "a")
        await self.resume(thread_id, "b")
        await self.fork(thread_id, 1)
        await self.invoke(thread_id, {"log": ["again"]})
        await self.resume(thread_id, "c")

    async def history(self, thread_id: str) -> list[Any]:
        if self._is_asynchronous:
            return [each async for each in self._graph.aget_state_history(at(thread_id))]
        return list(self._graph.get_state_history(at(thread_id)))

    async def described(self, thread_id: str) -> Any:
        """Return the whole history as the graph sees it, and the state of its subgraphs."""
        if self._is_asynchronous:
            state = await self._graph.aget_state(at(thread_id), subgraphs=True)
        else:
            state = self._graph.get_state(at(thread_id), subgraphs=True)
        return [_plain(each) for each in (state, *await self.history(thread_id))]


def _plain(snapshot: Any) -> Any:
    """Return a snapshot without what only names the saver's process."""
    return {
        "values": snapshot.values,
        "next": snapshot.next,
        "id": snapshot.config["configurable"]["checkpoint_id"],
        "parent": snapshot.parent_config and snapshot.parent_config["configurable"]["checkpoint_id"],
        "metadata": snapshot.metadata,
        "created": snapshot.created_at,
        "interrupts": [(each.id, each.value) for each in snapshot.interrupts],
        "tasks": [
            (task.id, task.name, task.path, task.error, task.result, _plain(task.state) if _is_state(task) else None)
            for task in snapshot.tasks
        ],
    }


def _is_state(task: Any) -> bool:
    return hasattr(task.state, "values") and hasattr(task.state, "tasks")
