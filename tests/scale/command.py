"""The server's commands as processes, with what they print and the most memory that they had."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.servers import EXECUTABLE


@dataclass(frozen=True)
class Ended:
    """A command that has ended.

    Attributes:
        code: its exit code.
        lines: of its standard output but the last.
        figures: the last line.
        memory_mib: the most memory that it had.

    """

    code: int
    lines: list[str]
    figures: Mapping[str, int]
    memory_mib: float


def started(folder: Path, *arguments: str, output: Path) -> subprocess.Popen[str]:
    """A command on a store, whose standard output goes to a file."""
    command = [*EXECUTABLE, *arguments, "--store", folder.as_uri()]
    with output.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, text=True)


def run(folder: Path, *arguments: str) -> Ended:
    """Run a command on a store to its end."""
    output = folder.parent / "output"
    process = started(folder, *arguments, output=output)
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = output.read_text().splitlines()
    assert lines, told[-2000:]
    return Ended(process.returncode, lines[:-1], json.loads(lines[-1]), usage.ru_maxrss / 1024)
