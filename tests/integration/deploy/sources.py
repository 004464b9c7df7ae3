"""The sources that the distributions are built from."""

import shutil
from pathlib import Path

from tests.support.repository import ROOT


def copy_sources(folder: Path) -> None:
    """Copy the sources of the distributions, without the output of earlier builds."""
    for name in ("client", "server"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
