"""One AsyncClient on several event loops, and in forked processes."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from types import SimpleNamespace

import holdfast
import pytest
import uvloop
from holdfast._core import forks

from tests.support.servers import server

FORMAT = holdfast.Format("test", 1)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    with server(tmp_path_factory.mktemp("loops").as_uri()) as target:
        yield target


@pytest.fixture
def quiet(caplog, recwarn):
    """Require that neither asyncio nor gRPC warns or logs anything while a test runs."""
    # What earlier tests left open warns when it is collected.
    gc.collect()
    recwarn.clear()
    yield
    gc.collect()
    assert [str(each.message) for each in recwarn] == []
    assert [each.getMessage() for each in caplog.records if each.levelname in ("WARNING", "ERROR")] == []


@pytest.fixture
def client(target, quiet):
    return holdfast.AsyncClient(target, timeout=20)


def open_channels(client):
    return len(client._transport._channels._open)


async def save_and_load(client, workflow_id, data=b"x"):
    await client.save("n", workflow_id, data, format=FORMAT)
    return (await client.load("n", workflow_id)).data


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_client_made_outside_of_a_loop_works_on_one_loop_after_the_other(client, run):
    for number in range(3):
        assert run(save_and_load(client, "w", b"%d" % number)) == b"%d" % number
        assert open_channels(client) == 0
    run(client.close())


@pytest.mark.parametrize("size", [1, 3_000_000])
def test_loops_in_several_threads_use_one_client_at_the_same_time(client, size):
    failures = []
    barrier = threading.Barrier(4)

    async def work(number):
        barrier.wait()
        for _ in range(2):
            data = bytes([number]) * size
            assert await save_and_load(client, f"t{number}", data) == data

    def run(number):
        try:
            asyncio.run(work(number))
        except Exception as error:  # noqa: BLE001 - any error that a caller could see
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert open_channels(client) == 0


def test_the_first_loop_still_works_when_a_second_one_in_another_thread_has_ended(client):
    async def main():
        await save_and_load(client, "first")
        await asyncio.to_thread(asyncio.run, save_and_load(client, "second"))
        return await save_and_load(client, "first")

    assert asyncio.run(main()) == b"x"


def alone(target, body):
    """Run code in a process of its own: grpc.aio keeps closed loops while any other channel of a process is open."""
    program = f"""
import asyncio, gc, os, time, weakref
import holdfast

async def save_and_load(client, data=b"x"):
    await client.save("n", "alone", data, format=holdfast.Format("test", 1))
    return (await client.load("n", "alone")).data

client = holdfast.AsyncClient({target!r}, timeout=20)
{body}
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_loop_that_was_closed_without_ending_its_generators_leaves_no_channels(target):
    alone(
        target,
        """
loop = asyncio.new_event_loop()
loop.run_until_complete(save_and_load(client))
loop.close()
assert len(client._transport._channels._open) == 1
assert asyncio.run(save_and_load(client)) == b"x"
assert len(client._transport._channels._open) == 0
collected = weakref.ref(loop)
del loop
gc.collect()
assert collected() is None
""",
    )


def test_a_client_that_is_dropped_without_closing_it_frees_its_channels(target, quiet):
    async def main():
        client = holdfast.AsyncClient(target, timeout=20)
        await save_and_load(client, "w")
        channel = weakref.ref(next(iter(client._transport._channels._open.values())))
        del client
        gc.collect()
        await asyncio.sleep(0)
        return channel()

    assert asyncio.run(main()) is None


def test_many_loops_leave_no_descriptors_and_no_loops(target):
    alone(
        target,
        """
loops = []

async def once():
    loops.append(weakref.ref(asyncio.get_running_loop()))
    await save_and_load(client)

asyncio.run(once())
before = len(os.listdir("/proc/self/fd"))
for _ in range(20):
    asyncio.run(once())
# Threads of gRPC close connections, and drop what refers to loops, shortly after the loops have ended.
end = time.monotonic() + 20
while True:
    gc.collect()
    left = len(os.listdir("/proc/self/fd")) - before, sum(each() is not None for each in loops)
    # gRPC may keep the last loops, not more of them with more loops.
    if left[0] <= 2 and left[1] <= 3:
        break
    assert time.monotonic() < end, left
    time.sleep(0.05)
""",
    )


def test_a_close_on_one_loop_closes_the_client_on_every_loop(client):
    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(save_and_load(client, "w"), other).result(20)
        asyncio.run(client.close())
        late = asyncio.run_coroutine_threadsafe(save_and_load(client, "w"), other)
        with pytest.raises(holdfast.ClientClosedError):
            late.result(20)
    finally:
        other.call_soon_threadsafe(other.stop)
        thread.join()
        other.run_until_complete(other.shutdown_asyncgens())
        other.close()
    assert open_channels(client) == 0


def test_a_call_without_an_event_loop_is_an_error_that_says_so(client):
    step = client.load("n", "w")
    with pytest.raises(RuntimeError, match="a running asyncio event loop"):
        step.send(None)


CHILD = """
import asyncio, os, signal, sys, threading, time
import holdfast

FORMAT = holdfast.Format("test", 1)
which, target = sys.argv[1:]

def forked(function):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            print(function(), flush=True)
        except holdfast.HoldfastError as error:
            print(error.reason, flush=True)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status

async def save(client):
    return (await client.save("n", "f", b"x", format=FORMAT)).revision > 0

async def while_open():
    async with holdfast.AsyncClient(target, timeout=10) as client:
        await save(client)
        other = holdfast.AsyncClient(target, timeout=10)
        forked(lambda: asyncio.run(save(client)))
        forked(lambda: asyncio.run(save(other)))
        print(await save(client))

async def while_saving():
    async with holdfast.AsyncClient(target, timeout=10) as client:
        saves = [asyncio.create_task(save(client)) for _ in range(5)]
        # No more than the client retries at once.
        for _ in range(2):
            await asyncio.sleep(0.001)
            forked(lambda: None)
        print(all(await asyncio.gather(*saves)))

if which == "open":
    asyncio.run(while_open())
elif which == "saving":
    asyncio.run(while_saving())
elif which == "idle":
    client = holdfast.AsyncClient(target, timeout=10)
    asyncio.run(save(client))
    forked(lambda: asyncio.run(save(client)))
    print(asyncio.run(save(client)))
elif which == "closed":
    def saved():
        with holdfast.Client(target, timeout=10) as client:
            return client.save("n", "f", b"x", format=FORMAT).revision > 0
    print(saved())
    forked(saved)
    print(saved())
elif which == "watching":
    client = holdfast.Client(target, timeout=10)
    client.save("n", "watched", b"x", format=FORMAT)
    watch = client.watch("n", "watched", after_revision=0)
    print(next(watch).revision)
    forked(lambda: watch.close())
    client.save("n", "watched", b"x", format=FORMAT)
    forked(lambda: next(watch).revision)
    print(next(watch).revision)
    # While a thread waits for an entry.
    waiting = threading.Thread(target=lambda: print(next(watch).revision, flush=True))
    waiting.start()
    for _ in range(10):
        time.sleep(0.001)
        forked(lambda: client.save("n", "child", b"x", format=FORMAT).revision > 0)
    client.save("n", "watched", b"x", format=FORMAT)
    waiting.join(20)
else:
    client = holdfast.Client(target, timeout=10)
    print(client.save("n", "f", b"x", format=FORMAT).revision > 0)
    forked(lambda: client.save("n", "f", b"x", format=FORMAT).revision > 0)
    forked(lambda: client.close())
    print(client.save("n", "f", b"x", format=FORMAT).revision > 0)
"""


@pytest.mark.parametrize(
    ("which", "printed"),
    [
        ("idle", ["True", "True"]),
        ("closed", ["True", "True", "True"]),
        ("open", ["CLIENT_CLOSED", "CLIENT_CLOSED", "True"]),
        ("saving", ["None", "None", "True"]),
        ("synchronous", ["True", "True", "None", "True"]),
        ("watching", ["1", "None", "2", "2", *["True"] * 10, "3"]),
    ],
)
def test_a_forked_process_can_use_an_idle_client_and_gets_an_error_for_an_open_one(target, which, printed):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, which, target], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == printed, done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("is_asynchronous", [True, False])
def test_a_fork_waits_until_a_channel_that_was_just_closed_is_gone(target, is_asynchronous, monkeypatch):
    async def use():
        async with holdfast.AsyncClient(target, timeout=10) as client:
            await save_and_load(client, "closed")

    now, slept = 1000.0, []
    monkeypatch.setattr(forks, "time", SimpleNamespace(monotonic=lambda: now, sleep=slept.append))
    if is_asynchronous:
        asyncio.run(use())
    else:
        with holdfast.Client(target, timeout=10) as client:
            client.save("n", "closed", b"x", format=FORMAT)
    for _ in range(4):
        forks.before_fork()
        now += 0.1
    assert slept == pytest.approx([0.3, 0.2, 0.1])
