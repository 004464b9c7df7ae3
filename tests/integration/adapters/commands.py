"""Run the command `holdfast` in a process."""

import os
import subprocess
import sys
from pathlib import Path

from tests.integration.adapters.programs import imports_of
from tests.support import forked
from tests.unit.client.cli import command

_CODE = "import sys; from holdfast_command import main; sys.argv[0] = 'holdfast'; main()"


def run(target: str, *arguments: str, folder: Path, code: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end.

    Args:
        target: the server.
        arguments: `import` or `export`, the engine, and what follows.
        folder: the current folder.
        code: the exit code that is expected.

    """
    environment = {**os.environ, "HOLDFAST_TARGET": target}
    modules = imports_of(arguments[1])
    done = forked.run(command.__name__, *arguments, modules=modules, cwd=folder, env=environment, timeout=100)
    assert done.returncode == code, done
    return done


def run_anew(*arguments: str, folder: Path, path: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process that imports everything anew, first what is in a folder."""
    paths = [str(path), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-c", _CODE, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )


def run_unread(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command with a stdout whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, "-c", _CODE, *arguments],
            cwd=folder,
            check=False,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=100,
        )
    finally:
        os.close(writing)
