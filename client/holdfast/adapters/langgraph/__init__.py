"""Keep the threads of LangGraph in Holdfast. Installed as `holdfast-client[langgraph]`.

`HoldfastSaver`, `import_threads` and `export_threads` are public; the modules are private.
"""

from holdfast.adapters.langgraph.moving.calls import export_threads, import_threads
from holdfast.adapters.langgraph.saver import HoldfastSaver

__all__ = ["HoldfastSaver", "export_threads", "import_threads"]
