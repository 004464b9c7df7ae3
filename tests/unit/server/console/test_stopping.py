"""The end of a console while requests are in progress."""

import asyncio

import pytest
from holdfast_server.console import guard as guarding
from holdfast_server.console.guard import Guard
from holdfast_server.console.settings import Settings

SCOPE = {"type": "http", "path": "/", "headers": [(b"host", b"localhost")]}
START = {"type": "http.response.start", "status": 200, "headers": []}


class Requested:
    """One request of an application that never ends its answer.

    Attributes:
        sent: the messages of the answer.
        task: the request.

    """

    def __init__(self, guard, *, begins):
        self.sent = []
        self._begins = begins
        self.reached = asyncio.Event()
        guard._app = self._app
        self.task = asyncio.create_task(guard(SCOPE, asyncio.Event().wait, self._send))

    async def _send(self, message):
        self.sent.append(message)

    async def _app(self, scope, receive, send):
        if self._begins:
            await send(START)
        self.reached.set()
        await asyncio.Event().wait()


@pytest.fixture
def guard():
    return Guard(None, Settings("127.0.0.1:1"))


async def test_a_page_that_is_not_there_at_the_end_is_answered_and_says_why(guard):
    requested = Requested(guard, begins=False)
    await requested.reached.wait()
    guard.end_within(0)
    await requested.task
    assert requested.sent[0]["status"] == 503
    assert b"stopping" in requested.sent[1]["body"]


async def test_an_answer_that_has_begun_is_cut_off_at_the_end(guard):
    requested = Requested(guard, begins=True)
    await requested.reached.wait()
    guard.end_within(0)
    await requested.task
    assert [each["type"] for each in requested.sent] == ["http.response.start"]


async def test_a_request_during_the_end_has_no_more_time_than_others(guard):
    guard.end_within(0)
    requested = Requested(guard, begins=False)
    await requested.task
    assert requested.sent[0]["status"] == 503


async def test_a_page_that_takes_too_long_is_answered_and_says_so(guard, monkeypatch):
    monkeypatch.setattr(guarding, "REQUEST_SECONDS", 0.01)
    requested = Requested(guard, begins=False)
    await requested.task
    assert requested.sent[0]["status"] == 504
    assert b"longer than" in requested.sent[1]["body"]


async def test_a_cancelled_request_stays_cancelled(guard):
    requested = Requested(guard, begins=False)
    await requested.reached.wait()
    requested.task.cancel()
    guard.end_within(0)
    with pytest.raises(asyncio.CancelledError):
        await requested.task
    assert not requested.sent
