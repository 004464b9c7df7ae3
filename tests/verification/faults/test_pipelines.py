"""Pipelines over connections that break, and on servers that send them away."""

import asyncio
from collections import Counter

import holdfast
import pytest

from tests.support.budget import amount
from tests.support.cutting_proxy import CuttingProxy
from tests.support.watched import serving_watched

FORMAT = holdfast.Format("test", 1)
WORKFLOWS = ("a", "b", "c")
SAVES = 6
# The handshakes of HTTP/2 come first, and the last positions lie after the last message.
POSITIONS = range(20, 3_000, amount(small=300, full=60))


async def save_all(client, namespace):
    """Save concurrently, as callers do whose calls share messages. Return what each save returned."""

    async def one(workflow):
        return [
            await client.save(
                namespace, workflow, f"{workflow}{number}".encode(), format=FORMAT, checkpoint_id=str(number)
            )
            for number in range(SAVES)
        ]

    return await asyncio.gather(*map(one, WORKFLOWS))


@pytest.mark.parametrize("direction", ["requests", "answers"])
async def test_a_pipeline_that_is_cut_anywhere_loses_no_call_and_commits_each_once(served, client, direction):
    cuts = 0
    for position in POSITIONS:
        namespace = f"cut-at-{position}"
        async with (
            CuttingProxy(served.target).running() as proxy,
            holdfast.AsyncClient(f"127.0.0.1:{proxy.port}", timeout=20) as through,
        ):
            getattr(proxy, f"cut_{direction}_after").append(position)
            saved = await save_all(through, namespace)
            cuts += proxy.cuts
        for workflow, mine in zip(WORKFLOWS, saved, strict=True):
            assert [each.revision for each in mine] == list(range(1, SAVES + 1))
            listed = [each async for each in client.list(namespace, workflow)]
            assert [each.checkpoint_id for each in listed] == [str(number) for number in reversed(range(SAVES))]
            for number in range(SAVES):
                loaded = await client.load(namespace, workflow, str(number))
                assert loaded.data == f"{workflow}{number}".encode()
    assert cuts >= len(POSITIONS) * 2 // 3


async def test_a_server_that_renews_its_pipelines_interrupts_no_call(tmp_path, monkeypatch):
    numbers = Counter()
    async with (
        serving_watched(tmp_path, pipeline_age_seconds=1) as served,
        holdfast.AsyncClient(served.target) as client,
    ):
        caller = client._transport._caller
        call = caller.call

        async def counted(method, send, **options):
            async def attempt(made):
                numbers[made.number] += 1
                return await send(made)

            return await call(method, attempt, **options)

        monkeypatch.setattr(caller, "call", counted)
        end = asyncio.get_running_loop().time() + 3
        while asyncio.get_running_loop().time() < end:
            await asyncio.gather(*(client.save("n", f"w{number}", b"x", format=FORMAT) for number in range(8)))
    assert set(numbers) == {1}
