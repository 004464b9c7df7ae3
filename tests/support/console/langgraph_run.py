"""The agent of the example on LangGraph, with a fork."""

from typing import Any

from holdfast.adapters.langgraph import HoldfastSaver
from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from examples import langgraph_agent as example
from tests.support.console import engines


def run(target: str, namespace: str) -> None:
    """Run the agent until it waits for a person, then to its end, and fork it where it waited."""
    thread: Any = {"configurable": {"thread_id": engines.LANGGRAPH_RUN}}
    graph = StateGraph(MessagesState).add_node("model", example.model).add_node("refund", example.refund)
    graph.add_edge(START, "model").add_conditional_edges("model", example.next_node).add_edge("refund", "model")
    with HoldfastSaver.from_target(target, namespace=namespace) as saver:
        agent = graph.compile(checkpointer=saver)
        agent.invoke({"messages": [HumanMessage("Please refund order 17.")]}, thread, durability="sync")
        waiting = agent.get_state(thread).config
        agent.invoke(Command(resume="yes"), thread, durability="sync")
        agent.invoke(Command(resume="no"), waiting, durability="sync")
