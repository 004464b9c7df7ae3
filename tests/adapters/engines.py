"""The engines that the tests of adapters need."""

import importlib.util
import os
from contextlib import suppress

import pytest


def require(module: str) -> None:
    """Skip the tests of an engine that is not installed; where CI runs, fail instead."""
    # Of a dotted name, the package that holds it may be missing.
    with suppress(ModuleNotFoundError):
        if importlib.util.find_spec(module) is not None:
            return
    why = f"{module} is not installed"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why, allow_module_level=True)
