"""Run the command `holdfast` in a process."""

import os
import subprocess
import sys
from pathlib import Path

CODE = "import sys; from holdfast_command import main; sys.argv[0] = 'holdfast'; main()"


def run(target: str, *arguments: str, folder: Path, code: int = 0, env: dict[str, str] | None = None) -> "Done":
    """Run the command to its end.

    Args:
        target: the server.
        arguments: the arguments.
        folder: the current folder.
        code: the exit code that is expected.
        env: additional variables.

    """
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        cwd=folder,
        env={**os.environ, "HOLDFAST_TARGET": target, **(env or {})},
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == code, done
    return done


Done = subprocess.CompletedProcess[str]
