"""What these tests need of a machine, and where they work."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import mounts, record


def require(why_not: str) -> None:
    """Skip a test for a reason, "" for none; on CI that is a failure."""
    if not why_not:
        return
    if os.environ.get("CI"):
        pytest.fail(why_not)
    pytest.skip(why_not)


@pytest.fixture(scope="session")
def strace() -> None:
    require(record.missing())


@pytest.fixture(scope="session")
def mounting() -> None:
    require(mounts.missing())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of states are made in it."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)
