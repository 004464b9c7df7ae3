"""A server killed with SIGKILL under load loses nothing that it acknowledged."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import holdfast

FORMAT = holdfast.Format("test", 1)
ROUNDS = 10
SAVERS = 32


def start(store: Path) -> tuple[subprocess.Popen[str], str]:
    command = [
        sys.executable,
        "-m",
        "holdfast_server.main",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--store",
        store.as_uri(),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[3].rstrip(",")


async def test_every_acknowledged_save_outlives_sigkill(tmp_path):
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
        process, target = start(tmp_path)
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
    process, target = start(tmp_path)
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
