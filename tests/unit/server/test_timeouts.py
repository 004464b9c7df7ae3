"""Timeouts that share one timer end their blocks like those of asyncio."""

import asyncio

import pytest
from holdfast_server.timeouts import Timeouts

# The server runs on the one, an embedded service on the other.
LOOPS = ["uvloop", "asyncio"]


@pytest.fixture
def timeouts():
    return Timeouts()


def in_(seconds):
    return asyncio.get_running_loop().time() + seconds


async def test_a_block_ends_at_its_moment(timeouts):
    with pytest.raises(TimeoutError), timeouts.at(in_(0.01)):
        await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0


async def test_a_moment_in_the_past_ends_a_block_that_waits(timeouts):
    with pytest.raises(TimeoutError), timeouts.at(in_(-1)):
        await asyncio.Event().wait()


async def test_a_moment_that_has_come_or_nearly_so_ends_each_block_of_many(timeouts):
    async def wait(seconds):
        with pytest.raises(TimeoutError), timeouts.at(in_(seconds)):
            await asyncio.Event().wait()

    await asyncio.gather(*map(wait, (0, 0.0004, -1, 0.0002, 0.002, 0, 0.0001)))


async def test_a_block_that_has_ended_is_not_cancelled(timeouts):
    with timeouts.at(in_(0.01)):
        pass
    await asyncio.sleep(0.02)


async def test_each_block_ends_at_its_own_moment_in_any_order(timeouts):
    ended = []

    async def wait(seconds):
        with pytest.raises(TimeoutError), timeouts.at(in_(seconds)):
            await asyncio.Event().wait()
        ended.append(seconds)

    await asyncio.gather(*map(wait, (0.03, 0.01, 0.05, 0.02)))
    assert ended == sorted(ended)


async def test_blocks_within_each_other_end_at_the_first_moment(timeouts):
    with pytest.raises(TimeoutError), timeouts.at(in_(0.01)), timeouts.at(in_(3600)) as inner:
        await asyncio.Event().wait()
    assert not inner.has_expired


async def test_open_timeouts_are_brought_forward_and_never_put_off(timeouts):
    ended = []

    async def wait(seconds):
        with pytest.raises(TimeoutError), timeouts.at(in_(seconds)):
            await asyncio.Event().wait()
        ended.append(seconds)

    waiting = [asyncio.create_task(wait(seconds)) for seconds in (0.01, 3600)]
    await asyncio.sleep(0)
    timeouts.bring_forward(in_(0.02))
    await asyncio.gather(*waiting)
    assert ended == [0.01, 3600]


async def test_a_task_that_is_cancelled_stays_cancelled(timeouts):
    async def wait():
        with timeouts.at(in_(3600)):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_a_block_is_raised(timeouts):
    with pytest.raises(LookupError), timeouts.at(in_(3600)):
        raise LookupError


async def test_a_task_that_is_cancelled_and_timed_out_at_once_stays_cancelled(timeouts):
    async def wait():
        with timeouts.at(in_(3600)) as timeout:
            opened.append(timeout)
            await asyncio.Event().wait()

    opened = []
    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    opened[0].expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
