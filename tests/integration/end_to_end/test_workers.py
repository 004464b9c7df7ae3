"""Workers: several processes that serve one port."""

import asyncio
import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import holdfast
import pytest
from holdfast_server import workers

from tests.support import servers
from tests.support.servers import EXECUTABLE, children, start

FORMAT = holdfast.Format("test", 1)


async def eventually(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - processes send no events
            await asyncio.sleep(0.02)


async def test_workers_share_a_port_and_lose_no_save_and_a_dead_one_is_replaced(tmp_path):
    process, target = start(tmp_path.as_uri(), "--workers", "3")
    try:
        before = children(process.pid)
        assert len(before) == 3
        clients = [holdfast.AsyncClient(target, timeout=20) for _ in range(8)]
        saved = await asyncio.gather(
            *(client.save("n", "w", b"%d" % number, format=FORMAT) for number, client in enumerate(clients))
        )
        assert sorted(each.revision for each in saved) == list(range(1, 9))
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


async def test_workers_end_if_their_parent_is_killed(tmp_path):
    process, _ = start(tmp_path.as_uri(), "--workers", "2")
    workers = children(process.pid)
    process.kill()
    process.wait()
    await eventually(lambda: not any(is_alive(pid) for pid in workers))


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def test_a_worker_that_keeps_dying_is_replaced_after_growing_pauses_that_are_logged(tmp_path):
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process, target = start((tmp_path / "store").as_uri(), "--workers", "2", stderr=stderr)
        killed = set()
        try:
            for _ in range(3):
                await eventually(lambda: len(set(children(process.pid)) - killed) == 2)
                victim = min(set(children(process.pid)) - killed)
                killed.add(victim)
                os.kill(victim, signal.SIGKILL)
                await eventually(lambda: log.read_text().count("a worker died and is replaced") == len(killed))
            await eventually(lambda: len(set(children(process.pid)) - killed) == 2)
            async with holdfast.AsyncClient(target, timeout=20) as client:
                await client.save("n", "w", b"x", format=FORMAT)
        finally:
            process.terminate()
            assert process.wait(30) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines() if "a worker died" in line]
    assert {each["exit_code"] for each in lines} == {-signal.SIGKILL}
    assert all(each["level"] == "error" and each["lived_seconds"] < 60 for each in lines)
    assert min(each["pause_seconds"] for each in lines) == 0.5
    assert max(each["pause_seconds"] for each in lines) >= 1.0


def workers_on(folder):
    """Return the child processes that serve a store in a folder. Other tests leave children of other kinds."""
    found = []
    for pid in children(os.getpid()):
        with suppress(FileNotFoundError, ProcessLookupError):
            if str(folder) in Path(f"/proc/{pid}/cmdline").read_text():
                found.append(pid)
    return found


async def test_a_server_ends_while_a_worker_waits_for_its_replacement(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(workers, "_FIRST_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(workers, "_MAX_PAUSE_SECONDS", 3600.0)
    settings = ["serve", "--store", (tmp_path / "store").as_uri(), "--workers", "2"]
    running = asyncio.create_task(workers.supervise("127.0.0.1:0", [settings] * 2, drain_seconds=15))
    await eventually(lambda: len(workers_on(tmp_path)) == 2)
    # Killed before it served. This is not a mistake of the configuration, after which the server would end.
    os.kill(workers_on(tmp_path)[0], signal.SIGKILL)
    # The wait begins with this line. A worker that is killed at the end of the server, before it, has not drained.
    await eventually(lambda: "a worker died and is replaced" in caplog.messages)
    assert not running.done()
    signal.raise_signal(signal.SIGTERM)
    assert await asyncio.wait_for(running, 20) == 0


@pytest.mark.parametrize("first", [(), ("--workers", "2")], ids=["one process", "two workers"])
@pytest.mark.parametrize("second", ["127.0.0.1", "0.0.0.0"])
def test_a_second_server_on_the_port_is_refused(tmp_path, first, second):
    process, target = start((tmp_path / "first").as_uri(), *first)
    try:
        for number in ("1", "2"):
            listen = f"{second}:{target.rpartition(':')[2]}"
            store = (tmp_path / "second").as_uri()
            result = servers.run("serve", "--workers", number, "--listen", listen, "--store", store, "--insecure")
            assert result.returncode == 1, number
            assert f"cannot listen on {listen}: Address already in use" in result.stderr
    finally:
        process.terminate()
        assert process.wait(30) == 0
    # The port is free again at once.
    process, _ = start((tmp_path / "first").as_uri(), "--workers", "2", listen=target)
    process.terminate()
    assert process.wait(30) == 0


async def test_workers_that_cannot_start_end_the_parent(tmp_path):
    store = tmp_path / "file"
    store.write_text("no folder")
    command = [*EXECUTABLE, "serve", "--workers=2", "--listen=127.0.0.1:0", f"--store={store.as_uri()}"]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    assert await process.wait() == 1
