"""LangGraph: a checkpoint saver that keeps threads in Holdfast. Installed as `holdfast[langgraph]`."""

from holdfast.adapters.langgraph.saver import HoldfastSaver

__all__ = ["HoldfastSaver"]
