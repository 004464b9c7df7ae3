"""Runs of the workflow engines that are installed, whose checkpoints have the layouts of the adapters."""

from importlib import import_module
from importlib.util import find_spec

LANGGRAPH_RUN = "refund-of-order-17"
BURR_RUN = "writers:draft-of-article-3"
_RUNS = {"langgraph": "tests.support.console.langgraph_run", "burr": "tests.support.console.burr_run"}


def run(target: str, namespace: str) -> None:
    """Run each engine that is installed."""
    for engine, module in _RUNS.items():
        if find_spec(engine):
            import_module(module).run(target, namespace)
