"""Two processes of one program that do one step per request, so that a test can let one overtake the other.

A program is a module that is run by its name, and calls `obey` with its steps.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import holdfast

from tests.integration.adapters.programs import imports_of
from tests.support.forked import Forked


class Rival:
    """A running process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, what: str) -> Any:
        """Do a step, and return its result, or `{"error": name, "message": text}` if it raised an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def rival(program: str, *arguments: str) -> Iterator[Rival]:
    """Run a process of a program until the end of the block."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with Forked(program, *arguments, modules=imports_of(program), text=True, **pipes) as process:
        yield Rival(process)


def obey(steps: Mapping[str, Callable[[], Any]]) -> None:
    """Do the requested steps until the input ends. Only the answers are written to the standard output."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            answer = steps[line.strip()]()
        except Exception as error:  # noqa: BLE001 - the error is the answer
            answer = {"error": type(_holdfast_error(error)).__name__, "message": str(error)}
        answers.write(f"{json.dumps(answer)}\n")
        answers.flush()


def _holdfast_error(error: BaseException) -> BaseException:
    """Return the error of Holdfast that caused an engine's error; the engine's error if there is none."""
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, holdfast.HoldfastError):
            return each
        each = each.__cause__
    return error
