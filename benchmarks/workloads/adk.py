"""What Google ADK has its session service do: the events of a session, recorded once and appended to any service.

`python -m benchmarks.workloads.adk FOLDER`, in ADK's own environment, measures them and prints a table.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from google.adk.agents import LlmAgent
from google.adk.events import Event
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import BaseSessionService, InMemorySessionService, Session
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from google.genai import types
from holdfast.adapters.adk import HoldfastSessionService

from benchmarks import places, stored
from benchmarks.places import Place
from benchmarks.workloads.texts import Texts
from benchmarks.workloads.workload import Workload

_TURNS = 50
_MESSAGE_BYTES = 1020
_OWN = "SqliteSessionService"
_WHO = {"app_name": "chat", "user_id": "me"}


async def main(folder: Path) -> None:
    """Measure a session of fifty turns, on Holdfast and on the engine's own service. Print a table."""
    # Each answer lacks the number of its tokens.
    logging.getLogger("google_adk").setLevel(logging.ERROR)
    await places.compare(f"Google ADK, session of {_TURNS} turns", await _recorded(), _stores(folder), _OWN)


def _stores(folder: Path) -> list[Place]:
    own = folder / "own"
    own.mkdir(parents=True)
    ours = places.on_holdfast(folder, _opened)
    return [*ours, Place(_OWN, lambda: _sqlite(own / "sessions.sqlite"), lambda: stored.in_folder(own))]


class Open:
    """A session of a service."""

    def __init__(self, service: BaseSessionService) -> None:
        self._service = service
        self._session: Session | None = None

    async def append(self, event: Event) -> None:
        """Append an event. The session is created before the first one."""
        if self._session is None:
            self._session = await self._service.create_session(**_WHO, session_id="session")
        await self._service.append_event(self._session, event.model_copy(deep=True))

    async def load(self) -> Session:
        """Load the session."""
        found = await self._service.get_session(**_WHO, session_id="session")
        assert found is not None
        return found


@asynccontextmanager
async def _opened(target: str) -> AsyncIterator[Open]:
    async with HoldfastSessionService.from_target(target, namespace="bench") as service:
        yield Open(service)


@asynccontextmanager
async def _sqlite(path: Path) -> AsyncIterator[Open]:
    yield Open(SqliteSessionService(str(path)))


async def _recorded() -> Workload:
    texts = Texts(seed=2)

    class Model(BaseLlm):
        async def generate_content_async(
            self, llm_request: LlmRequest, stream: bool = False
        ) -> AsyncGenerator[LlmResponse, None]:
            yield LlmResponse(content=types.ModelContent(texts.next(_MESSAGE_BYTES)))

    service = InMemorySessionService()
    session = await service.create_session(**_WHO, session_id="session")
    agent = LlmAgent(name="agent", model=Model(model="scripted"))
    runner = Runner(app_name=_WHO["app_name"], agent=agent, session_service=service)
    for _ in range(_TURNS):
        message = types.UserContent(texts.next(_MESSAGE_BYTES))
        async for _ in runner.run_async(user_id=_WHO["user_id"], session_id=session.id, new_message=message):
            pass
    found = await service.get_session(**_WHO, session_id=session.id)
    assert found is not None
    pieces = [[_append(event)] for event in found.events]
    return Workload(2 * _TURNS * _MESSAGE_BYTES, len(pieces), pieces, Open.load)


def _append(event: Event):
    return lambda session: session.append(event)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
