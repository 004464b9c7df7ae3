"""A service works in any event loop. ADK's synchronous `Runner.run()` starts one in a new thread."""

import asyncio
import threading

import holdfast
import pytest

from tests.support.required import require_engine

require_engine("google.adk")

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import Runner
from google.genai import types
from holdfast.adapters.adk import HoldfastSessionService

from tests.integration.adapters.adk.engine import WHO, event, read, texts


class Echo(BaseLlm):
    async def generate_content_async(self, llm_request, stream=False):
        yield LlmResponse(content=types.ModelContent(f"{len(llm_request.contents)} contents"))


@pytest.fixture
def service(served, namespace):
    """Return a service that was made outside of any event loop."""
    client = holdfast.AsyncClient(served.target, timeout=20)
    yield HoldfastSessionService(client, namespace=namespace)
    asyncio.run(client.close())


def runner(service) -> Runner:
    return Runner(
        app_name="app",
        agent=LlmAgent(name="e", model=Echo(model="e"), output_key="answer"),
        session_service=service,
        auto_create_session=True,
    )


def test_the_synchronous_runner_works_turn_after_turn(service):
    run = runner(service)
    for _ in range(3):
        events = list(run.run(user_id="u", session_id="s", new_message=types.UserContent("hi")))
        assert len(events) == 1
    found = asyncio.run(service.get_session(**WHO, session_id="s"))
    assert len(found.events) == 6
    assert found.state == {"answer": "5 contents"}


async def test_the_synchronous_runner_works_beside_a_running_loop(service):
    session = await service.create_session(**WHO, session_id="s")
    run = runner(service)
    new = types.UserContent("hi")
    events = await asyncio.to_thread(lambda: list(run.run(user_id="u", session_id="s", new_message=new)))
    assert len(events) == 1
    assert len((await read(service, session)).events) == 2
    async for _ in run.run_async(user_id="u", session_id="s", new_message=types.UserContent("hi")):
        pass
    assert len((await read(service, session)).events) == 4


def test_one_service_works_in_one_loop_after_the_other(service):
    async def append_five(number: int) -> None:
        session = await service.get_session(**WHO, session_id="s")
        session = session or await service.create_session(**WHO, session_id="s")
        # Several at once, so that they wait for the lock.
        events = [event(f"{number}-{part}", state={f"{number}-{part}": 1, "app:n": number}) for part in range(5)]
        await asyncio.gather(*(service.append_event(session, one) for one in events))

    for number in range(3):
        asyncio.run(append_five(number))
    found = asyncio.run(service.get_session(**WHO, session_id="s"))
    assert len(found.events) == 15
    assert len(found.state) == 16


def test_loops_of_several_threads_at_once_lose_nothing(service):
    failures = []

    async def work(number: int) -> None:
        session = await service.create_session(**WHO, session_id=str(number))
        for part in range(5):
            await service.append_event(session, event(str(part), state={f"app:{number}-{part}": 1}))

    def thread(number: int) -> None:
        try:
            asyncio.run(work(number))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []
    for number in range(4):
        found = asyncio.run(service.get_session(**WHO, session_id=str(number)))
        assert texts(found) == ["0", "1", "2", "3", "4"]
        assert len(found.state) == 20
