"""A server for all tests of the session, a client, and a namespace for each test."""

from collections.abc import Iterator

import holdfast
import pytest

from tests.integration.adapters.adk.serving import Served, serving
from tests.support.memory import folder_in_memory


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with folder_in_memory(tmp_path_factory.mktemp("adk")) as folder, serving(folder / "store") as found:
        yield found


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """Return a namespace that only this test uses."""
    return f"test-{abs(hash(request.node.nodeid))}"


@pytest.fixture
async def client(served: Served):
    async with holdfast.AsyncClient(served.target, timeout=20) as client:
        yield client
