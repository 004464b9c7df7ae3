"""Savers to move threads between."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.required import require, require_engine

require_engine("langgraph.checkpoint.postgres")
require_engine("langgraph.checkpoint.sqlite")

from holdfast.adapters.langgraph import HoldfastSaver  # noqa: E402

from benchmarks import postgres  # noqa: E402
from tests.integration.adapters.langgraph.moving.graphs import Threads  # noqa: E402
from tests.integration.adapters.langgraph.moving.others import KINDS  # noqa: E402
from tests.support.memory import folder_in_memory  # noqa: E402


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Postgres]:
    with folder_in_memory(tmp_path_factory.mktemp("postgres")) as folder, postgres.running(folder) as running:
        require("" if running else "Postgres is not installed: apt-get install postgresql")
        assert running is not None
        yield running


@pytest.fixture
def database(database_server: postgres.Postgres) -> str:
    """The URL of an empty database."""
    return database_server.create_database()


@pytest.fixture
async def saver(target: str, namespace: str) -> AsyncIterator[HoldfastSaver]:
    async with HoldfastSaver.from_target(target, namespace=namespace) as opened:
        yield opened


@pytest.fixture
def threads(saver: HoldfastSaver) -> Threads:
    """The threads in Holdfast."""
    return Threads(saver, is_asynchronous=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Any:
    return request.getfixturevalue("database") if kind.startswith("postgres") else str(tmp_path / "checkpoints.db")


@pytest.fixture
async def other(kind: str, place: Any) -> AsyncIterator[Threads]:
    """The threads in a saver of some kind."""
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(KINDS[kind].opened(place))
        yield Threads(opened, is_asynchronous=KINDS[kind].is_asynchronous)
