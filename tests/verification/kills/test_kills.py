"""A server that is killed with SIGKILL under load loses nothing that it acknowledged."""

import asyncio
import random

import holdfast
import pytest

from tests.support.budget import amount
from tests.support.servers import start

FORMAT = holdfast.Format("test", 1)
ROUNDS = amount(small=2, full=50)
SAVERS = 32


@pytest.mark.timeout(900)
async def test_every_acknowledged_save_outlives_sigkill(store_url):
    acknowledged: dict[tuple[str, str], bytes] = {}
    chance = random.Random(7)

    async def saver(client: holdfast.AsyncClient, number: int) -> None:
        count = 0
        while True:
            data = b"%d-%d-" % (number, count) + bytes(chance.choice([100, 4_000, 100_000]))
            saved = await client.save("n", f"w{number % 8}", data, format=FORMAT, timeout=5)
            acknowledged[f"w{number % 8}", saved.checkpoint_id] = data
            count += 1

    for _ in range(ROUNDS):
        process, target = start(store_url)
        async with holdfast.AsyncClient(target) as client:
            savers = [asyncio.create_task(saver(client, number)) for number in range(SAVERS)]
            before = len(acknowledged)
            enough = before + chance.randrange(20, 200)
            while len(acknowledged) < enough:  # noqa: ASYNC110 - the kill comes at no particular event
                await asyncio.sleep(0.01)
            process.kill()
            process.wait()
            for each in savers:
                each.cancel()
            await asyncio.gather(*savers, return_exceptions=True)
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
