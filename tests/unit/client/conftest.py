"""Each test of the client runs with both clients, unless it is marked `asynchronous_only`."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import holdfast
import pytest

from tests.support.both_clients import ClientInThreads
from tests.support.watched import Served

KINDS: dict[str, Callable[..., Any]] = {"asynchronous": holdfast.AsyncClient, "synchronous": ClientInThreads}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "connect" in metafunc.fixturenames:
        once = metafunc.definition.get_closest_marker("asynchronous_only")
        metafunc.parametrize("connect", ["asynchronous"] if once else list(KINDS), indirect=True)


@pytest.fixture
def connect(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return a function that makes a client of a target: `AsyncClient`, or `Client` with methods to await."""
    return KINDS[request.param]


@pytest.fixture
async def client(connect: Callable[..., Any], served: Served) -> AsyncIterator[Any]:
    async with connect(served.target, timeout=20) as client:
        yield client
