"""What LangGraph has its saver do: the calls of a chat and of an agent, recorded once and replayed on any saver."""

import os
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from benchmarks.savers import Saver
from benchmarks.workloads.texts import Texts
from benchmarks.workloads.workload import Call, Workload

MESSAGE_BYTES = 1020
_TOOL_CALLS = 20
_TOOL_RESULT_BYTES = 20_000
_RANDOM = 20
_RANDOM_BYTES = 100_000
_THREAD: Any = {"configurable": {"thread_id": "thread", "checkpoint_ns": ""}}


async def load(saver: Saver) -> object:
    """Load the newest state of a workload."""
    found = await saver.aget_tuple(_THREAD)
    assert found is not None
    return found


async def chat(turns: int) -> Workload:
    """Return a chat: in each turn a message and its answer, of a kilobyte each, in three checkpoints."""
    texts = Texts(seed=turns)
    graph = StateGraph(MessagesState)
    graph.add_node("answer", lambda state: {"messages": [AIMessage(texts.next(MESSAGE_BYTES))]})
    graph.add_edge(START, "answer")
    return await _recorded(graph, [{"messages": [HumanMessage(texts.next(MESSAGE_BYTES))]} for _ in range(turns)])


async def agent() -> Workload:
    """Return one run of an agent that calls a tool twenty times, with results of 20 kB."""
    texts = Texts(seed=0)

    def model(state: MessagesState) -> dict[str, list[AnyMessage]]:
        done = len(state["messages"]) // 2
        if done == _TOOL_CALLS:
            return {"messages": [AIMessage(texts.next(MESSAGE_BYTES))]}
        call = {"name": "search", "args": {"query": texts.next(40)}, "id": f"call-{done}"}
        return {"messages": [AIMessage(texts.next(80), tool_calls=[call])]}

    def tool(state: MessagesState) -> dict[str, list[AnyMessage]]:
        done = (len(state["messages"]) - 1) // 2
        return {"messages": [ToolMessage(texts.next(_TOOL_RESULT_BYTES), tool_call_id=f"call-{done}")]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tool", tool)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", lambda state: "tool" if state["messages"][-1].tool_calls else END)
    graph.add_edge("tool", "model")
    return await _recorded(graph, [{"messages": [HumanMessage(texts.next(MESSAGE_BYTES))]}])


async def random_bytes() -> Workload:
    """Return twenty states of 100 kB of random bytes, nothing of which is in another one."""
    pieces = []
    config: Any = _THREAD
    for number in range(_RANDOM):
        versions: Any = {"state": f"{number + 1:032}.0"}
        state = {"state": os.urandom(_RANDOM_BYTES)}
        checkpoint: Any = {**empty_checkpoint(), "channel_values": state, "channel_versions": versions}
        pieces.append([_put(config, checkpoint, {"source": "loop", "step": number}, versions)])
        config = {"configurable": {**_THREAD["configurable"], "checkpoint_id": checkpoint["id"]}}
    return Workload(_RANDOM * _RANDOM_BYTES, _RANDOM, pieces, load)


async def _recorded(builder: "StateGraph[Any]", inputs: Sequence[Any]) -> Workload:
    saver = _Recorder()
    graph = builder.compile(checkpointer=saver)
    pieces = []
    for each in inputs:
        await graph.ainvoke(each, {**_THREAD, "recursion_limit": 1000})
        pieces.append(saver.taken())
    messages = (await graph.aget_state(_THREAD)).values["messages"]
    states = sum(call.__name__ == "put" for piece in pieces for call in piece)
    return Workload(sum(len(message.content) for message in messages), states, pieces, load)


class _Recorder(InMemorySaver):
    """Records the calls of the graph that uses it, and makes them."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[Call] = []

    def taken(self) -> list[Call]:
        """Return the calls since the last time."""
        calls, self._calls = self._calls, []
        return calls

    async def aget_tuple(self, config: Any) -> Any:
        async def get(saver: Saver) -> object:
            return await saver.aget_tuple(config)

        self._calls.append(get)
        return await super().aget_tuple(config)

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        self._calls.append(_put(config, checkpoint, metadata, new_versions))
        return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        async def put_writes(saver: Saver) -> object:
            return await saver.aput_writes(config, writes, task_id, task_path)

        self._calls.append(put_writes)
        await super().aput_writes(config, writes, task_id, task_path)


def _put(config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Call:
    values = dict(checkpoint["channel_values"])

    async def put(saver: Saver) -> object:
        copy: Any = {**checkpoint, "channel_values": dict(values)}
        return await saver.aput(config, copy, dict(metadata), new_versions)  # type: ignore[arg-type]

    return put
