"""A watch through servers that are killed: each commit once, in order, whatever the server of the watch."""

import asyncio

import holdfast

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
