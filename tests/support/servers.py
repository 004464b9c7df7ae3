"""Servers, and the other commands of the server, each in its own process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tests.support import forked

# The environment of an engine may lack the server.
_PYTHON = os.environ.get("HOLDFAST_SERVER_PYTHON", sys.executable)
_PROGRAM = "holdfast_server.main"
EXECUTABLE = [_PYTHON, "-m", _PROGRAM]


def start(
    store_url: str,
    *flags: str,
    listen: str = "127.0.0.1:0",
    environment: Mapping[str, str] | None = None,
    stderr: IO[str] | None = None,
    within: Sequence[str] = (),
) -> tuple[subprocess.Popen[str], str]:
    """Start a server. Return its process and its target.

    Args:
        store_url: the store.
        flags: more arguments of `serve`.
        listen: the address to listen on.
        environment: variables to add.
        stderr: the file for the log; by default that of this process.
        within: a command that executes the command after it.

    """
    arguments = ["serve", "--listen", listen, "--store", store_url, *flags]
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": stderr, "text": True}
    options["env"] = {**os.environ, **(environment or {})}
    if within:
        process = subprocess.Popen([*within, *EXECUTABLE, *arguments], **options)
    else:
        process = _forked(*arguments, **options)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["address"]


@contextmanager
def server(store_url: str, *flags: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a server while the block lasts, then drain it. Yield its target."""
    process, target = start(store_url, *flags, environment=environment)
    try:
        yield target
    finally:
        process.terminate()
        assert process.wait(30) == 0


def started(*flags: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a server with any flags, and variables to add. Its first line is on its standard output."""
    return _forked("serve", *flags, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})


def run(*arguments: str, check: bool = False, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of the server to its end, as `subprocess.run` would, and capture its output."""
    done = forked.run(_PROGRAM, *arguments, python=_PYTHON, modules=_modules(arguments), **options)
    if check:
        done.check_returncode()
    return done


def _forked(*arguments: str, **options: Any) -> forked.Forked:
    return forked.Forked(_PROGRAM, *arguments, python=_PYTHON, modules=_modules(arguments), **options)


def _modules(arguments: Sequence[str]) -> Sequence[str]:
    """Return what the command imports: the client of S3 or Azure only if its store is there."""
    stores = {"s3://": "holdfast_server.stores.s3", "az://": "holdfast_server.stores.azure"}
    return [_PROGRAM, *(name for start, name in stores.items() if any(start in each for each in arguments))]


def children(pid: int) -> list[int]:
    """Return the ids of the child processes that any thread of a process has started."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        # The thread may have ended since it was listed.
        with suppress(FileNotFoundError):
            found += map(int, (thread / "children").read_text().split())
    return found


def memory_mib(pid: int, field: str) -> float:
    """Return the memory of a process in MiB, as /proc reports it: VmRSS is the current one, VmHWM the peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(field)
