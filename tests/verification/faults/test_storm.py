"""Everything at once: savers and loaders on two servers, while any request to the store may fail in any way."""

import asyncio
import random

import holdfast
import pytest

from tests.support.budget import amount
from tests.verification.faults.faults import Fault
from tests.verification.faults.faulty import retry_without_end

FORMAT = holdfast.Format("test", 1)
WORKFLOWS = 4
CLIENTS = 12
STEPS = 15
# Damage is a final answer, and has its own tests.
PASSING = (Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_BODY, Fault.THROTTLED, Fault.SLOW)


# It mostly waits between retries.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(amount(small=1, full=2)))
async def test_a_storm_of_faults_loses_nothing_and_commits_nothing_twice(faulty, seed):
    chance = random.Random(seed)
    acknowledged: dict[tuple[str, str], bytes] = {}
    sent: set[bytes] = set()
    faulty.faults.slow_seconds = 0.05

    async def user(number: int, client: holdfast.AsyncClient) -> None:
        newest: dict[str, int] = {}
        for step in range(STEPS):
            workflow_id = f"w{chance.randrange(WORKFLOWS)}"
            data = b"%d-%d-" % (number, step) + bytes(chance.choice((10, 90_000)))
            if chance.random() < 0.3 and workflow_id in newest:
                assert (await client.load("n", workflow_id)).revision >= newest[workflow_id]
                continue
            sent.add(data)
            chosen = chance.choice(("", f"id-{number}-{step}"))
            saved = await client.save("n", workflow_id, data, format=FORMAT, checkpoint_id=chosen)
            newest[workflow_id] = saved.revision
            acknowledged[workflow_id, saved.checkpoint_id] = data

    async with faulty.client(timeout=100) as one, faulty.client(timeout=100) as other:
        retry_without_end(one)
        retry_without_end(other)
        faulty.faults.storm(seed, 0.2, PASSING)
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(user(number, (one, other)[number % 2]))
        faulty.faults.calm()
        assert {each for each, _ in faulty.faults.struck} == set(PASSING)
        for (workflow_id, checkpoint_id), data in acknowledged.items():
            assert (await one.load("n", workflow_id, checkpoint_id)).data == data
        found = []
        for workflow in {workflow_id for workflow_id, _ in acknowledged}:
            listed = [each async for each in other.list("n", workflow)]
            assert [each.revision for each in listed] == list(range(len(listed), 0, -1))
            for each in listed:
                found.append((await other.load("n", workflow, each.checkpoint_id)).data)
        assert len(found) == len(set(found))
        assert set(found) == sent
