"""An agent on LangGraph that waits for a person's approval, and continues in another process.

The first run stops before the tool is called. Run it again to approve: it continues from the checkpoint.
It needs `pip install "holdfast-client[langgraph]" langgraph`.

Usage: python -m examples.langgraph_agent [TARGET]
"""

import sys
from typing import Any

from holdfast.adapters.langgraph import HoldfastSaver
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

THREAD: Any = {"configurable": {"thread_id": "refund-of-order-17"}}


def model(state: MessagesState) -> dict[str, Any]:
    """Answer as a language model would: call the tool, then report its result."""
    last = state["messages"][-1]
    if isinstance(last, ToolMessage):
        return {"messages": [AIMessage(f"Done: {last.content}.")]}
    call = {"name": "refund", "args": {"order": 17, "euros": 40}, "id": "call-1"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


def refund(state: MessagesState) -> dict[str, Any]:
    """Run the tool once a person has approved the call."""
    call = state["messages"][-1].tool_calls[0]
    if interrupt(call["args"]) != "yes":
        return {"messages": [ToolMessage("not approved", tool_call_id=call["id"])]}
    return {"messages": [ToolMessage(f"{call['args']['euros']} euros refunded", tool_call_id=call["id"])]}


def next_node(state: MessagesState) -> str:
    """Return the node that follows the model."""
    return "refund" if state["messages"][-1].tool_calls else "__end__"


def main(target: str = "file:///tmp/holdfast-examples") -> None:
    """Start the agent, or approve what it waits for."""
    graph = StateGraph(MessagesState).add_node("model", model).add_node("refund", refund)
    graph.add_edge(START, "model").add_conditional_edges("model", next_node).add_edge("refund", "model")
    with HoldfastSaver.from_target(target, namespace="examples") as saver:
        agent = graph.compile(checkpointer=saver)
        waiting = agent.get_state(THREAD).interrupts
        begin = {"messages": [HumanMessage("Please refund order 17.")]}
        result = agent.invoke(Command(resume="yes") if waiting else begin, THREAD, durability="sync")
        if "__interrupt__" in result:
            print(f"waiting for approval of {result['__interrupt__'][0].value}; run this again to approve")
        else:
            print(result["messages"][-1].content)


if __name__ == "__main__":
    main(*sys.argv[1:])
