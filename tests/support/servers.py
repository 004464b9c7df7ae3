"""Servers in processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

# An engine's environment may hold no server.
EXECUTABLE = [os.environ.get("HOLDFAST_SERVER_PYTHON", sys.executable), "-m", "holdfast_server.main"]


def start(
    store_url: str,
    *flags: str,
    listen: str = "127.0.0.1:0",
    environment: Mapping[str, str] | None = None,
    stderr: IO[str] | None = None,
    within: Sequence[str] = (),
) -> tuple[subprocess.Popen[str], str]:
    """A server, and its target. What it runs within is a command that becomes the one that follows it."""
    process = subprocess.Popen(
        [*within, *EXECUTABLE, "serve", "--listen", listen, "--store", store_url, *flags],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["address"]


@contextmanager
def server(store_url: str, *flags: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """The target of a server that ends with the block, by draining."""
    process, target = start(store_url, *flags, environment=environment)
    try:
        yield target
    finally:
        process.terminate()
        assert process.wait(30) == 0


def children(pid: int) -> list[int]:
    """The processes that a process has started, by any of its threads."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end in between.
        with suppress(FileNotFoundError):
            found += map(int, (thread / "children").read_text().split())
    return found


def memory_mib(pid: int, field: str) -> float:
    """What /proc says of a process: VmRSS now, VmHWM at its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(field)
