"""LangGraph: a checkpoint saver that keeps threads in Holdfast. Installed as `holdfast-client[langgraph]`."""

from holdfast.adapters.langgraph.saver import HoldfastSaver

__all__ = ["HoldfastSaver"]
