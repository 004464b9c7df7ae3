"""Real parts that a machine may lack: their tests are skipped by name and reason, and fail where CI runs."""

import importlib.util
import os

import pytest


def require(why_not: str) -> None:
    """Go on with a test or a module of tests unless something is missing.

    Args:
        why_not: what is missing, "" for nothing.

    """
    if not why_not:
        return
    if os.environ.get("CI"):
        pytest.fail(why_not, pytrace=False)
    pytest.skip(why_not, allow_module_level=True)


def require_engine(module_name: str) -> None:
    """Go on only if a workflow engine is installed.

    Args:
        module_name: the engine's import name.

    """
    try:
        found = importlib.util.find_spec(module_name) is not None
    except ModuleNotFoundError:
        found = False
    require("" if found else f"{module_name} is not installed: make .venv/engines-ready .venv/adk-ready")
