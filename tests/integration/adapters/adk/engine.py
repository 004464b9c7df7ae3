"""Helpers of the session service's tests: making events, reading sessions."""

from google.adk.events import Event, EventActions
from google.adk.sessions import Session
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai import types

WHO = {"app_name": "app", "user_id": "u"}


def event(text: str = "hi", *, state=None, **fields) -> Event:
    """Return an event. Its changes to state are not validated."""
    made = Event(author="agent", content=types.ModelContent(text), actions=EventActions(), **fields)
    made.actions.state_delta = state or {}
    return made


async def read(service, session: Session, **config) -> Session | None:
    chosen = GetSessionConfig(**config) if config else None
    return await service.get_session(**WHO, session_id=session.id, config=chosen)


def texts(session: Session) -> list[str]:
    return [each.content.parts[0].text[:20] for each in session.events]
