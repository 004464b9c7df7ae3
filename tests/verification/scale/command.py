"""The server's commands as processes, with their output and peak memory."""

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import EXECUTABLE, memory_mib

# Prints its position after each workflow.
_TALKATIVE = """
from holdfast_server import main, store_commands

store_commands._PROGRESS_SECONDS = 0.0
main.main()
"""


@dataclass(frozen=True)
class Ended:
    """The outcome of a command.

    Attributes:
        code: its exit code.
        lines: the lines of its standard output, without the last.
        figures: the last line, parsed.
        memory_mib: its peak memory.

    """

    code: int
    lines: list[str]
    figures: Mapping[str, int]
    memory_mib: float


def talkative(folder: Path, *arguments: str, output: Path) -> subprocess.Popen[str]:
    """Start a command that prints its position after each workflow, however fast it is."""
    return _started([sys.executable, "-c", _TALKATIVE, *arguments, "--store", folder.as_uri()], output)


def _started(command: list[str], output: Path) -> subprocess.Popen[str]:
    """Start a command, with standard output to a file."""
    with output.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, text=True)


def run(folder: Path, *arguments: str) -> Ended:
    """Run a command on a store."""
    output = folder.parent / "output"
    process = _started([*EXECUTABLE, *arguments, "--store", folder.as_uri()], output)
    memory, errors = 0.0, ""
    while process.returncode is None:
        try:
            _, errors = process.communicate(timeout=0.02)
        except subprocess.TimeoutExpired:
            # wait4 reports at least the peak memory of the parent process.
            with suppress(ValueError, FileNotFoundError):
                memory = memory_mib(process.pid, "VmHWM")
    lines = output.read_text().splitlines()
    assert lines, errors[-2000:]
    return Ended(process.returncode, lines[:-1], json.loads(lines[-1]), memory)
