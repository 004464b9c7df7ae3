"""Engines that may not be installed."""

import importlib.util
import os

import pytest


def require(module_name: str) -> None:
    """Skip the tests of a module whose engine is not installed; fail them where CI runs.

    Args:
        module_name: the engine's import name.

    """
    try:
        found = importlib.util.find_spec(module_name) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        why = f"{module_name} is not installed: make .venv/engines-ready"
        if os.environ.get("CI"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why, allow_module_level=True)
