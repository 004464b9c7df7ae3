"""The Pythons that the distributions are installed into: the oldest that they allow, and the newest available."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.required import require

OLDEST = (3, 11)
# Names the newest Python in CI, where the machine's own is older.
NEWEST = "HOLDFAST_TEST_NEWEST_PYTHON"


def oldest() -> str:
    """Return the path of a Python 3.11."""
    found = _found().get(OLDEST)
    require("" if found else "no Python 3.11 was found")
    return str(found)


def newest() -> str:
    """Return the path of the newest Python: the one that the environment names, or else the newest that is found."""
    named = os.environ.get(NEWEST)
    if named:
        return named
    if os.environ.get("CI"):
        require(f"{NEWEST} is not set")
    version, found = max(_found().items())
    require("" if version > OLDEST else f"no Python above 3.11 was found, {NEWEST} is not set")
    return found


def _found() -> dict[tuple[int, int], str]:
    """Return a working interpreter for each version found."""
    names = {Path(sys.executable).name, "python3"} | {f"python3.{minor}" for minor in range(11, 30)}
    folders = [*os.environ["PATH"].split(os.pathsep), *map(str, Path.home().glob(".pyenv/versions/*/bin"))]
    programs = [
        sys.executable,
        *(found for folder in folders for name in names if (found := shutil.which(name, path=folder))),
    ]
    versions: dict[tuple[int, int], str] = {}
    for program in programs:
        answer = subprocess.run(
            [program, "-c", "import sys, venv; print(sys.version)"], capture_output=True, text=True, check=False
        )
        # A shim of a version that is not selected exists, but does not run.
        version = re.match(r"(\d+)\.(\d+)", answer.stdout)
        if answer.returncode == 0 and version:
            versions.setdefault((int(version[1]), int(version[2])), program)
    return versions
