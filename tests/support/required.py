"""Programs and packages that a machine may lack. A test that needs one is skipped with the reason; in CI it fails."""

import importlib.util
import os

import pytest


def require(why_not: str) -> None:
    """Skip the test or module if something is missing; fail it in CI.

    Args:
        why_not: what is missing; "" if nothing is.

    """
    if not why_not:
        return
    if os.environ.get("CI"):
        pytest.fail(why_not, pytrace=False)
    pytest.skip(why_not, allow_module_level=True)


def require_engine(module_name: str) -> None:
    """Skip the module if a workflow engine is not installed; fail it in CI.

    Args:
        module_name: the engine's import name.

    """
    try:
        found = importlib.util.find_spec(module_name) is not None
    except ModuleNotFoundError:
        found = False
    require("" if found else f"{module_name} is not installed: make .venv/engines-ready .venv/adk-ready")
