"""How often a feed looks for commits of other processes."""

import asyncio

import pytest
from holdfast_server.api.watching import feed
from holdfast_server.api.watching.feed import Feed, Pace


class EmptyLog:
    """A follower of a log that gets no entries."""

    revision, digest = 0, b""

    async def read(self, newest):
        return []

    async def look_again(self):
        return []


async def pauses_of(monkeypatch, count, *, shortest):
    """Return how many seconds a feed waits between its first looks. It does not really wait."""
    found = []
    is_enough = asyncio.Event()
    timeout = asyncio.timeout

    def recorded(seconds):
        found.append(seconds)
        if len(found) == count:
            is_enough.set()
        return timeout(0)

    monkeypatch.setattr(feed.asyncio, "timeout", recorded)
    task = asyncio.ensure_future(Feed(EmptyLog(), Pace(0.1, 2.0), lambda: shortest).run())
    await is_enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return found


async def test_the_interval_grows_while_nothing_happens_up_to_the_slowest(monkeypatch):
    for number, seconds in enumerate(await pauses_of(monkeypatch, 20, shortest=0.0)):
        interval = min(0.1 * 1.5**number, 2.0)
        assert interval * 0.8 <= seconds <= interval * 1.2


async def test_no_interval_is_shorter_than_what_many_feeds_leave_to_each(monkeypatch):
    assert all(4.0 <= seconds <= 6.0 for seconds in await pauses_of(monkeypatch, 20, shortest=5.0))
