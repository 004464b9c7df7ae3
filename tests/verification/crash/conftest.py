"""The programs, the folder and the processes that these tests need."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.support.memory import folder_in_memory
from tests.support.required import require
from tests.verification.crash import mounts, record
from tests.verification.crash.scenarios import Cuts


@pytest.fixture(scope="session")
def strace() -> None:
    require(record.missing())


@pytest.fixture(scope="session")
def mounting() -> None:
    require(mounts.missing())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder, in memory if possible: the tests write thousands of states into it."""
    with folder_in_memory(tmp_path) as folder:
        yield folder


@pytest.fixture(scope="session")
def processes() -> Iterator[Executor]:
    """Processes that recover from states in parallel."""
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as processes:
        yield processes


_STATES = pytest.StashKey[list[Cuts]]()


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Callable[[Cuts], None]:
    """A function that counts states for the summary."""
    return request.config.stash.setdefault(_STATES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the number of states."""
    found = config.stash.get(_STATES, [])
    if found:
        moments, states, distinct = (
            sum(getattr(each, name) for each in found) for name in ("moments", "states", "distinct")
        )
        terminalreporter.write_line(f"power cuts at {moments} moments, {states} states, {distinct} of them different")
