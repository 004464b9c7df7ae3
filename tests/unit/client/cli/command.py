"""The command's executable, and an environment without the variables of the developer."""

import os
import sys
from pathlib import Path

EXECUTABLE = str(Path(sys.executable).parent / "holdfast")


def clean_environment(**settings):
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return kept | settings
