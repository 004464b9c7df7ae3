"""Programs that run concurrently and stop until a test lets them continue."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.adapters.programs import imports_of
from tests.support.forked import Forked


class Program:
    """A running program that prints a word when it waits for a line, and its result as JSON at its end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def waits(self, word: str) -> None:
        """Wait until the program has printed a word and waits."""
        assert self._read() == word

    def proceed(self) -> None:
        """Let the program continue."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def result(self) -> Any:
        """Return the result that the program printed at its end."""
        found = json.loads(self._read())
        assert self._process.wait(60) == 0
        return found

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def running(module: str, *arguments: str) -> Iterator[Program]:
    """Run a program until the end of the block, or until it ends by itself."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = Forked(module, *arguments, modules=imports_of(module), text=True, **pipes)
    try:
        yield Program(process)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
