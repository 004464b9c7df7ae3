"""Watches of what other processes commit, through servers that are killed: each commit once, in order."""

import asyncio
import sys

import holdfast
import pytest

from tests.support.both_clients import ClientInThreads
from tests.support.servers import start

FORMAT = holdfast.Format("f", 1)
LONG = 60.0
COMMITS = 60


async def test_servers_that_are_killed_under_a_watch_lose_and_double_no_commit(tmp_path):
    store = (tmp_path / "store").as_uri()
    writing, writer_target = start(store)
    watched, target = start(store)
    seen: list[str] = []

    async def watch() -> None:
        async with holdfast.AsyncClient(target, timeout=LONG) as client:
            async for entry in client.watch("n", "w", after_revision=0):
                seen.append(entry.checkpoint.checkpoint_id)
                if len(seen) == COMMITS:
                    return

    try:
        async with holdfast.AsyncClient(writer_target, timeout=LONG) as client:
            watching = asyncio.create_task(watch())
            for number in range(COMMITS):
                await client.save("n", "w", b"x", format=FORMAT, checkpoint_id=f"c{number}")
                if number % 20 == 10:
                    watched.kill()
                    watched.wait(30)
                    watched, again = start(store, listen=target)
                    assert again == target
            await asyncio.wait_for(watching, LONG)
    finally:
        for process in (writing, watched):
            process.kill()
            process.wait(30)
    assert seen == [f"c{number}" for number in range(COMMITS)]


WRITER = """
import sys
import holdfast

with holdfast.Client(sys.argv[1], timeout=60) as client:
    for number in map(int, sys.stdin):
        client.save("n", "w", b"x", format=holdfast.Format("f", 1), checkpoint_id=f"c{number}")
"""


@pytest.mark.parametrize("kind", [holdfast.AsyncClient, ClientInThreads])
async def test_an_embedded_watch_has_the_commits_of_another_process(tmp_path, kind):
    target = (tmp_path / "store").as_uri()
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, target, stdin=asyncio.subprocess.PIPE)
    try:
        async with kind(target, timeout=LONG) as client:
            # The workflow does not exist yet.
            watch = client.watch("n", "w", after_revision=0)
            for number in range(5):
                reading = asyncio.ensure_future(anext(watch))
                writer.stdin.write(f"{number}\n".encode())
                found = await asyncio.wait_for(reading, LONG)
                assert (found.revision, found.checkpoint.checkpoint_id) == (number + 1, f"c{number}")
            # Many at once.
            writer.stdin.write(b"".join(b"%d\n" % number for number in range(5, 100)))
            found = [(await asyncio.wait_for(anext(watch), LONG)).checkpoint.checkpoint_id for _ in range(95)]
            assert found == [f"c{number}" for number in range(5, 100)]
        writer.stdin.close()
        assert await asyncio.wait_for(writer.wait(), LONG) == 0
    finally:
        if writer.returncode is None:
            writer.kill()
            await writer.wait()
