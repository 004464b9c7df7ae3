"""Faults of an Azure store that others do not have: uploads in blocks, which the library sends again."""

import asyncio
from collections.abc import AsyncIterator

import holdfast
import pytest

from tests.verification.faults.faults import Fault
from tests.verification.faults.faulty import Faulty, faulty_azure

FORMAT = holdfast.Format("test", 1)
MANY_BLOCKS = bytes(range(251)) * 130_000
ALWAYS = float("inf")

pytestmark = pytest.mark.needs_budget("full")


@pytest.fixture
async def faulty(azure_endpoint: str, azure_container: str) -> AsyncIterator[Faulty]:
    async with faulty_azure(azure_endpoint, azure_container) as azure:
        yield azure


async def test_stale_connections_in_the_pool_fail_no_call(faulty):
    async with faulty.client() as client:
        for number in range(10):
            saves = [client.save("n", f"w{each}", b"%d" % number, format=FORMAT) for each in range(8)]
            assert {each.revision for each in await asyncio.gather(*saves)} == {number + 1}
            faulty.proxy.cut_idle_connections()
            loads = [client.load("n", f"w{each}") for each in range(8)]
            assert {each.data for each in await asyncio.gather(*loads)} == {b"%d" % number}
            faulty.proxy.cut_idle_connections()


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.THROTTLED])
async def test_an_upload_of_many_blocks_outlives_requests_that_fail_and_sends_no_other_block_again(faulty, fault):
    async with faulty.client() as client:
        await client.save("n", "w", b"first", format=FORMAT)
        faulty.faults.plan(fault, "PUT", "/blob/", times=3)
        faulty.faults.requests.clear()
        saved = await client.save("n", "w", MANY_BLOCKS, format=FORMAT, timeout=60)
        assert len(faulty.faults.struck) == 3
        assert (saved.revision, saved.replayed) == (2, False)
        assert (await client.load("n", "w")).data == MANY_BLOCKS
        blocks = -(-len(MANY_BLOCKS) // (8 << 20))
        uploads = [each for each in faulty.faults.requests if each.verb == "PUT" and "/blob/" in each.key]
        assert len(uploads) <= blocks + 1 + 3


async def test_a_refused_upload_leaves_no_objects(faulty):
    async with faulty.client() as client:
        await client.save("n", "w", b"first", format=FORMAT)
        faulty.faults.plan(Fault.FORBIDDEN, "PUT", "/blob/", times=ALWAYS)
        with pytest.raises(holdfast.StoreAccessDeniedError):
            await client.save("n", "w", MANY_BLOCKS, format=FORMAT)
        assert (await client.load("n", "w")).data == b"first"
    assert await faulty.sound.list("ns/n/wf/w/blob/") == []
