"""The command's executable, its program for forks, and an environment without the variables of the developer."""

import os
import sys
from pathlib import Path

import holdfast_command

EXECUTABLE = str(Path(sys.executable).parent / "holdfast")
MODULES = ["holdfast_command", "holdfast.cli.main"]


def clean_environment(**settings):
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return kept | settings


if __name__ == "__main__":
    sys.exit(holdfast_command.main())
