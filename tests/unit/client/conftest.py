"""Each test of the client runs with both clients, unless it is marked `asynchronous_only`.

A test that saves in a served store also runs with clients that embed the service, unless it is marked `remote_only`.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import holdfast
import pytest

from tests.support.both_clients import ClientInThreads
from tests.support.watched import Served, embedding_watched, serving_watched, settings_of

KINDS: dict[str, Callable[..., Any]] = {
    "asynchronous": holdfast.AsyncClient,
    "synchronous": ClientInThreads,
    "asynchronous-embedded": holdfast.AsyncClient,
    "synchronous-embedded": ClientInThreads,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "connect" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker
        kinds = ["asynchronous"] if marked("asynchronous_only") else ["asynchronous", "synchronous"]
        if "served" in metafunc.fixturenames and not marked("remote_only"):
            kinds += [f"{kind}-embedded" for kind in kinds]
        metafunc.parametrize("connect", kinds, indirect=True)


@pytest.fixture
def connect(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return a function that makes a client of a target: `AsyncClient`, or `Client` with methods to await."""
    return KINDS[request.param]


@pytest.fixture
async def served(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    kind = str(getattr(request.node, "callspec", None) and request.node.callspec.params.get("connect"))
    if kind.endswith("-embedded"):
        async with embedding_watched(tmp_path, **settings_of(request.node)) as served:
            yield served
    else:
        async with serving_watched(tmp_path, **settings_of(request.node)) as served:
            yield served


@pytest.fixture
async def client(connect: Callable[..., Any], served: Served) -> AsyncIterator[Any]:
    async with connect(served.target, timeout=20) as client:
        yield client
