"""A server in a process of its own, by an interpreter that has it: Google ADK's environment does not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import holdfast
import pytest


@dataclass
class Served:
    target: str
    folder: Path


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    python = os.environ.get("HOLDFAST_SERVER_PYTHON", sys.executable)
    command = [python, "-m", "holdfast_server.main", "serve", "--listen", "127.0.0.1:0", "--store", folder.as_uri()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Served(process.stdout.readline().split()[3].rstrip(","), folder)
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("adk") / "store") as found:
        yield found


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    return f"test-{abs(hash(request.node.nodeid))}"


@pytest.fixture
async def client(served: Served):
    async with holdfast.AsyncClient(served.target, timeout=20) as client:
        yield client
