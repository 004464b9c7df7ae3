"""A server that is killed with SIGKILL under load loses nothing that it acknowledged."""

import asyncio
import random

import holdfast
import pytest

from tests.support.budget import amount
from tests.support.servers import start

FORMAT = holdfast.Format("test", 1)
# How often each server is killed.
ROUNDS = amount(small=2, full=25)
# How many saves at most are acknowledged before the next kill.
MOST_SAVES = amount(small=60, full=200)
SAVERS = 32
WORKFLOWS = 8
# What the states of workflows have in common, so that most are stored as deltas.
COMMON = random.Random("common").randbytes(400_000)

# The content of each acknowledged checkpoint, by workflow and id.
Acknowledged = dict[tuple[str, str], bytes]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("servers", [1, 2])
# A kill meets the same state with any client of a network store.
@pytest.mark.parametrize("store_url", ["file", "s3"], indirect=True)
async def test_every_acknowledged_save_outlives_sigkill(servers, store_url):
    acknowledged: Acknowledged = {}
    await asyncio.gather(*(lives(store_url, number, SAVERS // servers, acknowledged) for number in range(servers)))
    process, target = start(store_url)
    async with holdfast.AsyncClient(target) as client:
        for (workflow_id, checkpoint_id), data in acknowledged.items():
            assert (await client.load("n", workflow_id, checkpoint_id)).data == data
        for workflow_id in {workflow_id for workflow_id, _ in acknowledged}:
            listed = [each async for each in client.list("n", workflow_id)]
            revisions = [each.revision for each in listed]
            assert revisions == list(range(len(revisions), 0, -1))
            for each in listed:
                assert (await client.validate("n", workflow_id, each.checkpoint_id)).resumable
    process.terminate()
    assert process.wait(15) == 0


async def lives(store_url: str, number: int, savers: int, acknowledged: Acknowledged) -> None:
    """Start a server and kill it under load, again and again. Other servers may use the store at the same time."""
    chance = random.Random(number)
    count = 0

    async def save(client: holdfast.AsyncClient, workflow_id: str) -> None:
        nonlocal count
        while True:
            data = b"%d-%d-" % (number, count) + COMMON[: chance.choice([100, 4_000, 100_000, 400_000])]
            count += 1
            saved = await client.save("n", workflow_id, data, format=FORMAT, timeout=5)
            acknowledged[workflow_id, saved.checkpoint_id] = data

    for _ in range(ROUNDS):
        process, target = await asyncio.to_thread(start, store_url)
        async with holdfast.AsyncClient(target) as client:
            saving = [asyncio.create_task(save(client, f"w{each % WORKFLOWS}")) for each in range(savers)]
            enough = len(acknowledged) + chance.randrange(20, MOST_SAVES)
            while len(acknowledged) < enough:  # noqa: ASYNC110 - the kill comes at no particular event
                await asyncio.sleep(0.01)
            process.kill()
            await asyncio.to_thread(process.wait)
            for each in saving:
                each.cancel()
            await asyncio.gather(*saving, return_exceptions=True)
