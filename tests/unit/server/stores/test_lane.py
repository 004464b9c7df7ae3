"""A lane gives its threads what the event loop has ready, in batches and in order."""

import asyncio
import threading

import pytest
from holdfast_server.stores.file.lane import Lane


class Work:
    """Doubles numbers and keeps the batches; waits within each until it may go on."""

    def __init__(self):
        self.batches = []
        self.began = threading.Event()
        self.may_go_on = threading.Semaphore(0)

    def __call__(self, numbers):
        self.batches.append(list(numbers))
        self.began.set()
        self.may_go_on.acquire()
        return [ValueError(number) if number < 0 else 2 * number for number in numbers]


@pytest.fixture
async def lane():
    work = Work()
    lane = Lane(work, name="test", largest_batch=4)
    yield lane, work
    work.may_go_on.release(100)
    await lane.close()


async def test_items_that_are_ready_together_are_one_batch(lane):
    lane, work = lane
    for first in (0, 10):
        work.may_go_on.release()
        assert await asyncio.gather(*(lane.run(first + number) for number in range(3))) == [
            2 * (first + number) for number in range(3)
        ]
    assert work.batches == [[0, 1, 2], [10, 11, 12]]


async def test_items_that_come_while_the_thread_works_wait_for_the_next_batches(lane):
    lane, work = lane
    first = asyncio.create_task(lane.run(0))
    await asyncio.to_thread(work.began.wait)
    others = [asyncio.create_task(lane.run(number)) for number in range(1, 7)]
    await asyncio.sleep(0)
    work.may_go_on.release(3)
    assert await asyncio.gather(first, *others) == [2 * number for number in range(7)]
    assert work.batches == [[0], [1, 2, 3, 4], [5, 6]]


async def test_an_item_that_fails_fails_alone(lane):
    lane, work = lane
    work.may_go_on.release()
    failed, done = await asyncio.gather(lane.run(-1), lane.run(1), return_exceptions=True)
    assert isinstance(failed, ValueError)
    assert done == 2
