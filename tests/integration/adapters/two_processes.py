"""Programs that run beside each other, and go on when a test says so."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Program:
    """A running program that prints a word where it waits for a line, and its result as JSON at its end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def waits(self, word: str) -> None:
        """Wait until the program waits."""
        assert self._read() == word

    def go_on(self) -> None:
        """Let it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def result(self) -> Any:
        """Return what it printed at its end."""
        found = json.loads(self._read())
        assert self._process.wait(60) == 0
        return found

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def running(module: str, *arguments: str) -> Iterator[Program]:
    """A program that is ended with the block, if it has not ended by itself."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Program(process)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
