"""Clients that are closed while calls run: each call ends with an error of the SDK."""

import asyncio
import io
import threading
import time

import holdfast
import pytest

FORMAT = holdfast.Format("test", 1)
LARGE = bytes(3 << 20)
LONG_PAUSES = holdfast.RetryPolicy(initial_backoff_seconds=1e6, max_backoff_seconds=1e6)


class Stalled:
    """A store that answers nothing until it is released, and sets events at its first two requests."""

    def __init__(self, served):
        self.asked = asyncio.Event()
        self.asked_twice = asyncio.Event()
        self.released = asyncio.Event()
        served.store.before = self._stall

    async def _stall(self, operation, key):
        if self.asked.is_set():
            self.asked_twice.set()
        self.asked.set()
        await self.released.wait()


@pytest.fixture
async def stalled(served):
    async with holdfast.AsyncClient(served.target) as client:
        for number in range(3):
            await client.save("n", "w", LARGE if number else b"x", format=FORMAT)
    stalled = Stalled(served)
    yield stalled
    stalled.released.set()


async def listed(client):
    return [each async for each in client.list("n", "w")]


async def read_history(client):
    return [each async for each in client.history("n", "w")]


CALLS = {
    "save": lambda client: client.save("n", "w", b"x", format=FORMAT),
    "streamed save": lambda client: client.save("n", "w", LARGE, format=FORMAT),
    "save of a file": lambda client: client.save("n", "w", io.BytesIO(LARGE), format=FORMAT),
    "load": lambda client: client.load("n", "w"),
    "resume": lambda client: client.resume("n", "w", format=FORMAT),
    "list": listed,
    "history": read_history,
    "records": lambda client: client.records("n", "w", "c"),
    "attach": lambda client: client.attach("n", "w", "c", [holdfast.Record("k", b"v")]),
    "delete": lambda client: client.delete("n", "w", "c"),
    "acquire_writer": lambda client: client.acquire_writer("n", "w"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_call_in_flight_ends_with_an_error_and_not_as_cancelled(connect, served, stalled, call):
    client = connect(served.target, timeout=20)
    task = asyncio.create_task(call(client))
    await stalled.asked.wait()
    await client.close()
    with pytest.raises(holdfast.ClientClosedError) as caught:
        await task
    assert caught.value.reason == "CLIENT_CLOSED"
    assert len(caught.value.trace_id) == 32
    assert not task.cancelled()


async def test_a_task_group_raises_the_errors_of_the_calls_that_a_close_ended(served, stalled):
    client = holdfast.AsyncClient(served.target, timeout=20)
    with pytest.RaisesGroup(holdfast.ClientClosedError, holdfast.ClientClosedError):
        async with asyncio.TaskGroup() as group:
            group.create_task(client.save("n", "a", b"x", format=FORMAT))
            group.create_task(client.save("n", "b", LARGE, format=FORMAT))
            # Of both: the group cancels a call that has not begun when the other one ends.
            await stalled.asked_twice.wait()
            await client.close()


async def test_a_caller_that_is_cancelled_while_the_client_closes_stays_cancelled(served, stalled):
    client = holdfast.AsyncClient(served.target, timeout=20)
    task = asyncio.create_task(client.load("n", "w"))
    await stalled.asked.wait()
    task.cancel()
    await client.close()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_of_the_caller_stays_a_timeout(served, stalled):
    async with holdfast.AsyncClient(served.target, timeout=20) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.save("n", "w", LARGE, format=FORMAT)


async def test_a_load_in_the_middle_of_its_stream_ends_with_an_error(connect, served):
    async with connect(served.target, timeout=20) as client:
        await client.save("n", "w", bytes(32 << 20), format=FORMAT)
    client = connect(served.target, timeout=20)
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    load = client.load("n", "w", progress=lambda done, total: loop.call_soon_threadsafe(begun.set))
    task = asyncio.create_task(load)
    await begun.wait()
    await client.close()
    with pytest.raises(holdfast.ClientClosedError):
        await task


async def test_a_save_in_the_middle_of_its_stream_ends_with_an_error(connect, served):
    client = connect(served.target, timeout=20)
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    save = client.save(
        "n", "w", bytes(64 << 20), format=FORMAT, progress=lambda done, total: loop.call_soon_threadsafe(begun.set)
    )
    task = asyncio.create_task(save)
    await begun.wait()
    await client.close()
    with pytest.raises(holdfast.ClientClosedError):
        await task


async def test_a_pause_between_two_attempts_ends_at_once(served):
    served.store.lose_request = lambda operation, key: True
    client = holdfast.AsyncClient(served.target, timeout=1e7, retry=LONG_PAUSES)
    pause, paused = client._transport._channels.pause, asyncio.Event()

    async def watched(seconds):
        paused.set()
        await pause(seconds)

    client._transport._channels.pause = watched
    task = asyncio.create_task(client.load("n", "w"))
    await paused.wait()
    await client.close()
    with pytest.raises(holdfast.ClientClosedError):
        await task


async def test_an_iterator_of_a_client_that_was_closed_ends_with_an_error(client):
    for _ in range(3):
        await client.save("n", "w", b"x", format=FORMAT)
    pages = client.list("n", "w", page_size=1)
    assert (await anext(pages)).revision == 3
    await client.close()
    with pytest.raises(holdfast.ClientClosedError):
        await anext(pages)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_call_on_a_closed_client_is_refused(connect, served, call):
    client = connect(served.target)
    await client.close()
    await client.close()
    with pytest.raises(holdfast.ClientClosedError):
        await call(client)


async def test_a_closed_client_cannot_be_entered_again(connect, served):
    async with connect(served.target) as client:
        pass
    with pytest.raises(holdfast.ClientClosedError):
        await client.__aenter__()


async def test_a_synchronous_pause_between_two_attempts_ends_at_once(served):
    served.store.lose_request = lambda operation, key: True
    client = holdfast.Client(served.target, timeout=1e7, retry=LONG_PAUSES)
    pause, paused = client._transport._channels.pause, threading.Event()

    def watched(seconds):
        paused.set()
        pause(seconds)

    client._transport._channels.pause = watched
    task = asyncio.create_task(asyncio.to_thread(client.load, "n", "w"))
    await asyncio.to_thread(paused.wait)
    client.close()
    with pytest.raises(holdfast.ClientClosedError):
        await task


async def test_threads_that_close_and_call_at_the_same_time_see_only_errors_of_the_sdk(served):
    for _ in range(10):
        client = holdfast.Client(served.target, timeout=20)
        outcomes = []

        def work(client=client, outcomes=outcomes):
            while True:
                try:
                    client.load("n", "none")
                except holdfast.WorkflowNotFoundError:
                    continue
                except Exception as error:  # noqa: BLE001 - any error that a caller could see
                    outcomes.append(type(error))
                    return

        def run(client=client):
            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.02)
            client.close()
            for thread in threads:
                thread.join()

        await asyncio.to_thread(run)
        assert outcomes == [holdfast.ClientClosedError] * 4
