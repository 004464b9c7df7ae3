"""Keep the threads of LangGraph in Holdfast. Installed as `holdfast-client[langgraph]`.

`HoldfastSaver` is public; the modules are private.
"""

from holdfast.adapters.langgraph.saver import HoldfastSaver

__all__ = ["HoldfastSaver"]
