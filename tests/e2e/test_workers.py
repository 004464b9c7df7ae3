"""One port, several processes."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import holdfast

from tests.servers import EXECUTABLE, children, start

FORMAT = holdfast.Format("test", 1)


async def eventually(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - processes send no events
            await asyncio.sleep(0.02)


async def test_workers_share_a_port_and_lose_nothing_and_a_dead_one_is_replaced(tmp_path):
    process, target = start(tmp_path.as_uri(), "--workers", "3")
    try:
        before = children(process.pid)
        assert len(before) == 3
        clients = [holdfast.AsyncClient(target, timeout=20) for _ in range(8)]
        saved = await asyncio.gather(
            *(client.save("n", "w", b"%d" % number, format=FORMAT) for number, client in enumerate(clients))
        )
        assert sorted(each.revision for each in saved) == list(range(1, 9))
        # A worker that dies at its start is a mistake of the set-up; one that has lived is replaced.
        await asyncio.sleep(5)
        os.kill(before[0], signal.SIGKILL)
        await eventually(lambda: len(set(children(process.pid)) - {before[0]}) == 3)
        listed = [[each.revision async for each in client.list("n", "w")] for client in clients]
        assert listed == [list(range(8, 0, -1))] * 8
        for client in clients:
            await client.close()
    finally:
        process.terminate()
        assert process.wait(30) == 0
    await eventually(lambda: not any(is_alive(pid) for pid in before))


async def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    process, _ = start(tmp_path.as_uri(), "--workers", "2")
    workers = children(process.pid)
    process.kill()
    process.wait()
    await eventually(lambda: not any(is_alive(pid) for pid in workers))


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def test_workers_that_cannot_start_end_the_parent(tmp_path):
    store = tmp_path / "file"
    store.write_text("no folder")
    command = [*EXECUTABLE, "serve", "--workers=2", "--listen=127.0.0.1:0", f"--store={store.as_uri()}"]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    assert await process.wait() == 1
