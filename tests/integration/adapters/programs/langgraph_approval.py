"""A run that approves what a graph asks for, and runs the tool. It stops at points until the test lets it continue.

At each point it writes the point's name and waits for a line. At the end it writes "kept" or the name of the error.
"""

import asyncio
import sys
from typing import Any, TypedDict

from holdfast import HoldfastError
from holdfast.adapters.langgraph import HoldfastSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

AT: Any = {"configurable": {"thread_id": "order"}}


async def stop(name: str) -> None:
    """Write the name of a point and wait for a line."""
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)


class Stopping(HoldfastSaver):
    """The saver, with a point after the load that begins a run."""

    async def aget_tuple(self, config: Any) -> Any:
        found = await super().aget_tuple(config)
        await stop("loaded")
        return found


class State(TypedDict, total=False):
    asked: bool
    shipped_by: str


def shop(saver: Any, name: str, pause: Any) -> Any:
    """Return a graph that ships an order after it is approved, and records the process that shipped it."""

    async def ship(state: State) -> State:
        interrupt("ship it?")
        await pause("shipping")
        return {"shipped_by": name}

    async def close(state: State) -> State:
        return {"asked": True}

    builder = StateGraph(State).add_node("ship", ship).add_node("close", close)
    return builder.add_edge(START, "ship").add_edge("ship", "close").compile(checkpointer=saver)


async def main(target: str, namespace: str, name: str, ownership: Any) -> None:
    """Approve the order."""
    async with Stopping.from_target(target, namespace=namespace, ownership=ownership) as saver:
        try:
            await shop(saver, name, stop).ainvoke(Command(resume=name), AT, durability="sync")
            sys.stdout.write("kept\n")
        except HoldfastError as error:
            sys.stdout.write(f"{type(error).__name__}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
