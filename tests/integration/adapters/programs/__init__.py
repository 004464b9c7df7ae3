"""Programs of the engines, which tests run in processes of their own."""

_IMPORTS = {
    "adk": ("google.adk.runners", "holdfast.adapters.adk"),
    "agent_framework": ("agent_framework", "holdfast.adapters.agent_framework"),
    "burr": ("burr.core", "holdfast.adapters.burr"),
    # A flow imports its memory when it is made, which takes two seconds.
    "crewai": ("crewai", "crewai.memory.storage.lancedb_storage", "holdfast.adapters.crewai"),
    "langgraph": ("langgraph.graph", "langgraph.types", "holdfast.adapters.langgraph"),
    "pydantic_ai": ("pydantic_ai", "pydantic_ai_harness", "holdfast.adapters.pydantic_ai"),
    "temporal": ("temporalio.client", "temporalio.worker", "holdfast.adapters.temporal"),
    "your_own": ("holdfast",),
}


def imports_of(name: str) -> tuple[str, ...]:
    """Return what programs of an engine import. All of its processes are forks of one that has imported this.

    Args:
        name: the program, or the page.

    """
    [engine] = (engine for engine in _IMPORTS if engine in name.replace("-", "_"))
    return _IMPORTS[engine]
