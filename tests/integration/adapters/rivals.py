"""Two processes that run one thing of an engine at a time, each of which does a step when it is told to.

A program is a module that is run by its name; it calls `obey` with what it can do. The test starts two, and lets the
one overtake the other.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import holdfast


class Rival:
    """A process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, what: str) -> Any:
        """What a step returned, or the name of the error that it raised, as `{"error": name}`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def rival(program: str, *arguments: str) -> Iterator[Rival]:
    """A process of a program, which ends with the block."""
    command = [sys.executable, "-m", program, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Rival(process)


def obey(steps: Mapping[str, Callable[[], Any]]) -> None:
    """Do the steps that are asked for, until the input ends. The answers alone go to the standard output."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            answer = steps[line.strip()]()
        except Exception as error:  # noqa: BLE001 - which it is, is the answer
            answer = {"error": type(_holdfast_error(error)).__name__, "message": str(error)}
        answers.write(f"{json.dumps(answer)}\n")
        answers.flush()


def _holdfast_error(error: BaseException) -> BaseException:
    """The error of Holdfast that an engine raised its own from; its own if there is none."""
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, holdfast.HoldfastError):
            return each
        each = each.__cause__
    return error
