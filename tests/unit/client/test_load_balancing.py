"""How calls go to the addresses of a target: all to the first one, or each to the next."""

import asyncio

import holdfast
import pytest
from holdfast.adapters.from_target import AsyncFromTarget

from tests.support.watched import serving_watched

FORMAT = holdfast.Format("test", 1)


@pytest.fixture
async def stores(tmp_path):
    """Two servers of different stores. Yield a target that names both, and the stores, which count requests."""
    async with serving_watched(tmp_path / "1") as first, serving_watched(tmp_path / "2") as second:
        yield f"ipv4:{first.target},{second.target}", first.store, second.store


async def load_nothing(client):
    with pytest.raises(holdfast.WorkflowNotFoundError):
        await client.load("n", "w")


async def test_round_robin_sends_calls_to_every_address(connect, stores):
    target, first, second = stores
    async with connect(target, timeout=60, load_balancing="round_robin") as client:
        # The second connection may be made later than the first.
        while not (first.requests.total() and second.requests.total()):
            await load_nothing(client)
        before = first.requests.total(), second.requests.total()
        await asyncio.gather(*(load_nothing(client) for _ in range(20)))
        assert first.requests.total() > before[0]
        assert second.requests.total() > before[1]


async def test_without_a_policy_all_calls_go_to_one_address(connect, stores):
    target, first, second = stores
    async with connect(target, timeout=60) as client:
        await asyncio.gather(*(load_nothing(client) for _ in range(20)))
    assert 0 in (first.requests.total(), second.requests.total())


async def test_a_folder_takes_a_policy_and_has_no_use_for_it(connect, tmp_path):
    async with connect((tmp_path / "store").as_uri(), timeout=60, load_balancing="round_robin") as client:
        saved = await client.save("n", "w", b"x", format=FORMAT)
        assert (await client.load("n", "w")).checkpoint_id == saved.checkpoint_id


async def test_from_target_passes_the_policy_on():
    class Adapter(AsyncFromTarget):
        def __init__(self, client):
            self.client = client

    with pytest.raises(holdfast.InvalidRequestError, match="load_balancing"):
        async with Adapter.from_target("127.0.0.1:9", load_balancing="random"):
            pass


@pytest.mark.parametrize("target", ["127.0.0.1:9", "file:///tmp/store"])
@pytest.mark.parametrize("kind", [holdfast.AsyncClient, holdfast.Client])
def test_a_policy_that_is_none_is_refused_by_its_name_and_value(kind, target):
    with pytest.raises(holdfast.InvalidRequestError, match="must be one of pick_first, round_robin, not 'random'"):
        kind(target, load_balancing="random")
    with pytest.raises(TypeError, match="load_balancing"):
        kind(target, load_balancing=None)
