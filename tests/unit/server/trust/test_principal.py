"""Every call knows its principal, on every transport."""

import holdfast
import pytest
from holdfast_server.api.calls import Calls

FORMAT = holdfast.Format("f", 1)


@pytest.fixture
def principals(monkeypatch):
    """Return the names of the principals of the calls, by method."""
    seen = {}
    admit = Calls._admit

    def noting(self, call, request):
        seen.setdefault(call.method.rpartition("/")[2], set()).add(call.principal.name)
        admit(self, call, request)

    monkeypatch.setattr(Calls, "_admit", noting)
    return seen


async def save_and_load(target):
    async with holdfast.AsyncClient(target) as client:
        for data in (b"small", b"large" * 1_000_000):
            await client.save("n", "w", data, format=FORMAT)
            assert (await client.load("n", "w")).data == data


async def test_every_caller_of_a_server_without_authentication_is_anonymous(served, principals):
    await save_and_load(served.target)
    assert principals == {name: {"anonymous"} for name in ("Save", "SaveStream", "Load", "LoadStream")}


async def test_the_caller_of_an_embedded_service_is_embedded(tmp_path, principals):
    await save_and_load(tmp_path.as_uri())
    assert set().union(*principals.values()) == {"embedded"}
