"""Engines that the adapters are tested with: skipped by name where they are not installed, but not by CI."""

import importlib
import os
from types import ModuleType

import pytest


def require(module_name: str) -> ModuleType:
    """The engine's module; else its tests are skipped by name and reason, and in CI they fail."""
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        why = f"{module_name} cannot be imported: {error}"
        if os.environ.get("CI"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why, allow_module_level=True)
