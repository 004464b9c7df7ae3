"""Run programs that are killed with SIGKILL at one of their points and then run again to their end.

A program is a module that is run by its name with a server's target and a file for its result. It calls `point` at each
place where it may be killed: before and after each of its own steps, and before and after each call of its adapter.
"""

import json
import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.adapters.programs import imports_of
from tests.support.forked import Forked

_LONGEST_SECONDS = 120.0
_KILL_AT = "HOLDFAST_KILL_AT"
_JOURNAL = "HOLDFAST_JOURNAL"
_reached = 0
_lock = threading.Lock()


def point(name: str) -> None:
    """Pass a point, or be killed there. The journal contains the points reached, also those before a kill."""
    global _reached  # noqa: PLW0603 - a process is killed as a whole
    with _lock:
        _reached += 1
        with open(os.environ[_JOURNAL], "a") as journal:
            journal.write(f"{name}\n")
        if _reached == int(os.environ.get(_KILL_AT, "0")):
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Run:
    """The outcome of a program.

    Attributes:
        result: the result that it wrote at its end.
        points: the names of the points that its processes reached, in order.
        kills: how often it was killed.

    """

    result: Any
    points: list[str]
    kills: int


def run(program: str, target: str, folder: Path, *, kill_at: int = 0) -> Run:
    """Run a program to its end. Its first process may be killed at a point; then a second one continues.

    Args:
        program: the module.
        target: the server.
        folder: for the journal and the result of this run; it must not exist.
        kill_at: the number of the point, counted from 1; 0 for no kill.

    """
    folder.mkdir()
    journal, result = folder / "journal", folder / "result.json"
    arguments, environment = [target, str(result)], {_JOURNAL: str(journal)}
    kills = 0
    if kill_at:
        code = _ended(program, arguments, {**environment, _KILL_AT: str(kill_at)})
        assert code == -signal.SIGKILL, f"{program} ended with {code} before point {kill_at}"
        assert not result.exists()
        kills = 1
    code = _ended(program, arguments, environment)
    assert code == 0, f"{program} ended with {code}"
    return Run(json.loads(result.read_text()), journal.read_text().splitlines(), kills)


def _ended(program: str, arguments: list[str], environment: dict[str, str]) -> int:
    """Run a process of a program, and return its exit code."""
    with Forked(program, *arguments, modules=imports_of(program), env={**os.environ, **environment}) as process:
        try:
            return process.wait(_LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
