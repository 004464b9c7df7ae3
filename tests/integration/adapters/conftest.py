"""The server of the engines' tests.

Google ADK excludes CrewAI: `make test` runs its tests in an environment of its own, and not from here.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.memory import folder_in_memory
from tests.support.servers import server

collect_ignore = ["adk"]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the store that `target` serves."""
    with folder_in_memory(tmp_path_factory.mktemp("engines")) as folder:
        yield folder / "store"


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    with folder_in_memory(tmp_path) as folder:
        yield folder


@pytest.fixture(scope="session")
def target(store: Path) -> Iterator[str]:
    """One server for all tests of this process: each has a namespace, or ids, of its own."""
    with server(store.as_uri()) as target:
        yield target


@pytest.fixture
def namespace() -> str:
    return uuid.uuid4().hex
