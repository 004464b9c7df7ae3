"""Google ADK: a session service that keeps sessions and their events in Holdfast.

A session is a workflow, an event a checkpoint: it holds the event, the session's state behind it, and the checkpoint of
the event before as its parent. So the newest checkpoint alone tells the state, and a session is whole only where each
event of the chain is. App and user state are workflows of their own, of which the newest checkpoint counts.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Any, Self
from weakref import WeakValueDictionary

from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events import Event, EventActions
from google.adk.platform import time as platform_time
from google.adk.platform import uuid as platform_uuid
from google.adk.sessions import BaseSessionService, Session
from google.adk.sessions.base_session_service import GetSessionConfig, ListSessionsResponse

from holdfast.adapters.adk.checkpoints import MISSING, Checkpoints, accepted
from holdfast.adapters.adk.states import States, split
from holdfast.adapters.ids import joined
from holdfast.checkpoint import Format, LoadedCheckpoint
from holdfast.client import AsyncClient
from holdfast.errors import (
    CheckpointCorruptedError,
    RevisionConflictError,
)

SESSION_FORMAT = Format("adk-session", 1)

_SESSION = "adk-session"


class HoldfastSessionService(BaseSessionService):
    """A session service on a Holdfast server.

    Every method raises HoldfastError, a subclass for each reason: CheckpointCorruptedError where stored bytes are
    damaged, FormatIncompatibleError where a newer adapter wrote them, ServerUnavailableError where nobody answers.

    Args:
        client: the client; who opened it closes it.
        namespace: where the sessions lie.
        fallback: answer damage with the session, or the state, as it was before what is damaged.

    """

    def __init__(self, client: AsyncClient, *, namespace: str, fallback: bool = False) -> None:
        self._client = client
        self._namespace = namespace
        self._fallback = fallback
        self._checkpoints = Checkpoints(client, namespace, fallback)
        self._states = States(self._checkpoints)
        self._appending: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @classmethod
    @asynccontextmanager
    async def from_target(
        cls, target: str, *, namespace: str, fallback: bool = False, **options: Any
    ) -> AsyncIterator[Self]:
        """A service with a client of its own, closed with the block.

        Args:
            target: host:port of the server.
            namespace: where the sessions lie.
            fallback: as the class has it.
            options: what `holdfast.AsyncClient` takes, such as `timeout` in seconds.

        """
        async with AsyncClient(target, **options) as client:
            yield cls(client, namespace=namespace, fallback=fallback)

    async def create_session(
        self, *, app_name: str, user_id: str, state: dict[str, Any] | None = None, session_id: str | None = None
    ) -> Session:
        """Create a session, with an id of its own where none is given.

        Raises:
            AlreadyExistsError: the user has a session with this id.
            HoldfastError: a subclass for each reason.

        """
        session_id = (session_id or "").strip() or platform_uuid.new_uuid()
        workflow = joined(_SESSION, app_name, user_id, session_id)
        shared, own = split(EventActions(state_delta=state or {}), app_name, user_id)
        session = Session(
            id=session_id, app_name=app_name, user_id=user_id, state=own, last_update_time=platform_time.get_time()
        )
        exists = AlreadyExistsError(f"Session with id {session_id} already exists.")
        if shared and await self._checkpoints.find(workflow, SESSION_FORMAT) is not None:
            raise exists
        await self._states.update(shared)
        try:
            saved = await self._checkpoints.save(
                workflow, {"session": _dump(session)}, SESSION_FORMAT, expected_revision=0
            )
        except RevisionConflictError as error:
            raise exists from error
        _mark(session, saved.checkpoint_id, saved.checkpoint_id)
        return await self._states.merge(session)

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        """A session with its events, oldest first; None where there is none.

        Args:
            app_name: the app.
            user_id: the user.
            session_id: the session.
            config: which events; None for all.

        Raises:
            CheckpointCorruptedError: one of these events is damaged.
            HoldfastError: a subclass for each other reason.

        """
        workflow = joined(_SESSION, app_name, user_id, session_id.strip())
        newest = await self._checkpoints.find(workflow, SESSION_FORMAT)
        if newest is None:
            return None
        good, events = await self._events(workflow, newest, config or GetSessionConfig())
        session = Session.model_validate_json(good.parts["session"])
        session.events = events
        _mark(session, newest.checkpoint_id, good.checkpoint_id)
        return await self._states.merge(session)

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """The sessions of an app, or of one of its users, without events, the last updated one last."""
        sessions = []
        states: dict[str, dict[str, Any]] = {}
        prefix = joined(_SESSION, app_name, *(() if user_id is None else (user_id,)), "")
        async for found in self._client.list_workflows(self._namespace, prefix=prefix, page_size=1000):
            if not found.checkpoint_revision:
                continue
            newest = await self._checkpoints.find(found.workflow_id, SESSION_FORMAT)
            if newest is not None:
                sessions.append(await self._states.merge(Session.model_validate_json(newest.parts["session"]), states))
        sessions.sort(key=lambda each: (each.last_update_time, each.user_id, each.id))
        return ListSessionsResponse(sessions=sessions)

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Delete a session; where there is none, nothing happens. App and user state stay."""
        try:
            await self._client.delete_workflow(self._namespace, joined(_SESSION, app_name, user_id, session_id.strip()))
        except MISSING:
            return

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """What all sessions of a user share, by keys without their prefix."""
        return await self._states.of_user(app_name, user_id)

    async def append_event(self, session: Session, event: Event) -> Event:
        """Append an event to a session, which must be as it is stored. A partial event is not stored.

        An append whose outcome is not known may be made again, with the same session and event: it is stored once.

        Raises:
            StaleSessionError: the session was written to since this copy of it was read.
            SessionNotFoundError: there is none, or it was deleted.
            HoldfastError: a subclass for each reason.

        """
        if event.partial:
            return event
        self._apply_temp_state(session, event)
        event = self._trim_temp_delta_state(event)
        event_json = _dump_event(event)
        workflow = joined(_SESSION, session.app_name, session.user_id, session.id)
        async with self._appending.setdefault(workflow, asyncio.Lock()):
            if any(each.id == event.id and _dump_event(each) == event_json for each in session.events):
                return event
            checkpoint_id = await self._append(workflow, session, event, event_json)
            _mark(session, checkpoint_id, checkpoint_id)
            session.last_update_time = event.timestamp
            return self._commit_event_to_session(session, event)

    async def _append(self, workflow: str, session: Session, event: Event, event_json: bytes) -> str:
        """Store an event. Returns its checkpoint."""
        shared, own = split(event.actions, session.app_name, session.user_id)
        while True:
            newest = await self._checkpoints.find(workflow, SESSION_FORMAT)
            if newest is None:
                raise SessionNotFoundError(f"Session {session.id} not found.")
            if newest.parts.get("event") == event_json:
                # An append whose answer was lost had stored it.
                return newest.checkpoint_id
            good = await self._behind(workflow, session, newest)
            stored = Session.model_validate_json(good.parts["session"])
            stored.state.update(own)
            stored.last_update_time = event.timestamp
            await self._states.update(shared)
            try:
                saved = await self._checkpoints.save(
                    workflow,
                    {"session": _dump(stored), "event": event_json},
                    SESSION_FORMAT,
                    parent_id=good.checkpoint_id,
                    expected_revision=newest.head_revision or None,
                )
            except RevisionConflictError:
                # Another event, or something that is none, such as an entry of the garbage collection.
                continue
            return saved.checkpoint_id

    async def _behind(self, workflow: str, session: Session, newest: LoadedCheckpoint) -> LoadedCheckpoint:
        """The checkpoint that a session was made from, where it is as it is stored.

        Raises:
            StaleSessionError: it is not.

        """
        stale = StaleSessionError(f"Session {session.id} was written to since it was read; read it again.")
        if session._storage_update_marker is None:  # noqa: SLF001 - ADK's place for it
            if json.loads(newest.parts["session"])["last_update_time"] > session.last_update_time:
                raise stale
            return newest
        seen, good = session._storage_update_marker.split("\n")  # noqa: SLF001
        if seen != newest.checkpoint_id:
            raise stale
        return newest if good == seen else await self._checkpoints.load(workflow, SESSION_FORMAT, good)

    async def _events(
        self, workflow: str, newest: LoadedCheckpoint, config: GetSessionConfig
    ) -> tuple[LoadedCheckpoint, list[Event]]:
        """The newest checkpoint whose chain is whole, and the events of that chain, oldest first."""
        limit = inf if config.num_recent_events is None else config.num_recent_events
        after = -inf if config.after_timestamp is None else config.after_timestamp
        good = last = newest
        events: list[Event] = []
        if not limit:
            return good, events
        async for each in self._chain(workflow, newest, limit):
            if events and each.checkpoint_id != last.info.parent_id:
                good, events = each, []
            if "event" not in each.parts:
                break
            event = Event.model_validate_json(each.parts["event"])
            if event.timestamp < after:
                break
            events.append(event)
            if len(events) == limit:
                break
            last = each
        return good, events[::-1]

    async def _chain(self, workflow: str, newest: LoadedCheckpoint, limit: float) -> AsyncIterator[LoadedCheckpoint]:
        """A checkpoint and those before it by their parents, newest first; with `fallback`, but for damaged ones."""
        yield newest
        if not self._fallback:
            # Many in a call; what is no part of the chain may lie between, and be damaged.
            history = self._client.history(
                self._namespace,
                workflow,
                before=newest.checkpoint_id,
                page_size=int(min(limit, 1000)),
                accepted_formats=accepted(SESSION_FORMAT),
            )
            with suppress(CheckpointCorruptedError):
                async for each in history:
                    if each.checkpoint_id == newest.info.parent_id:
                        newest = each
                        yield each
        while newest.info.parent_id:
            newest = await self._checkpoints.load(
                workflow, SESSION_FORMAT, newest.info.parent_id, fallback=self._fallback
            )
            yield newest


def _dump(session: Session) -> bytes:
    return json.dumps(session.model_dump(mode="json", exclude={"events"})).encode()


def _dump_event(event: Event) -> bytes:
    return event.model_dump_json(exclude_none=True).encode()


def _mark(session: Session, seen: str, good: str) -> None:
    """Note in a session what it was made from: the newest checkpoint, and the newest one that is whole."""
    session._storage_update_marker = f"{seen}\n{good}"  # noqa: SLF001
