"""Google ADK has an environment of its own. Elsewhere its tests are skipped."""

import importlib.util
import os

from tests.support.required import require_engine

WHY_NOT = "google.adk has an environment of its own: make .venv/adk-ready"


def has_adk() -> bool:
    """Tell whether Google ADK is installed. In its own environment a module of tests fails or is skipped if not."""
    if "HOLDFAST_SERVER_PYTHON" in os.environ:
        require_engine("google.adk")
    return importlib.util.find_spec("google.adk") is not None
