"""Google ADK: a session service that keeps sessions and their events in Holdfast.

A session is a workflow. Each event is a checkpoint that holds the event and the changes that it makes to state, needs
the checkpoint of the event before, and every so often holds the session's whole state as well. App and user state are
workflows of their own. An event's changes to them are applied after the event is committed, and a read of the session
applies them if the process that appended the event could not.
"""

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Self

from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.events import Event
from google.adk.platform import time as platform_time
from google.adk.platform import uuid as platform_uuid
from google.adk.sessions import BaseSessionService, Session
from google.adk.sessions.base_session_service import GetSessionConfig, ListSessionsResponse

from holdfast._async.client import AsyncClient
from holdfast._core.errors import (
    CheckpointCorruptedError,
    FormatIncompatibleError,
    HoldfastError,
    RevisionConflictError,
)
from holdfast.adapters.adk.appends import Appends
from holdfast.adapters.adk.checkpoints import MISSING, Checkpoints
from holdfast.adapters.adk.entries import Since, dumped
from holdfast.adapters.adk.events import Events
from holdfast.adapters.adk.marks import Mark
from holdfast.adapters.adk.places import Place, listed, place_of, prefix_of, required
from holdfast.adapters.adk.reads import SESSION_FORMAT, SESSION_FORMATS, Reads
from holdfast.adapters.adk.states import SharedStates
from holdfast.adapters.adk.turns import Turns
from holdfast.adapters.adk.values import Values
from holdfast.adapters.runs import Ownership, checked_ownership

_LOG = logging.getLogger(__name__)
_UNREADABLE = (CheckpointCorruptedError, FormatIncompatibleError, *MISSING)


class HoldfastSessionService(BaseSessionService):
    """A session service on a Holdfast server.

    Every method raises HoldfastError, a subclass for each reason: CheckpointCorruptedError if stored bytes are damaged,
    FormatIncompatibleError if a newer adapter wrote them, ServerUnavailableError if nobody answers.

    Args:
        client: the client; the caller closes it.
        namespace: the namespace of the sessions.
        fallback: answer damage with the session, or the state, as it was before the damage.
        allowed_types: the application's own classes that states may hold, as "module:qualname".
        ownership: "shared": a session that is as it is stored can be appended to. "exclusive": a run acquires its
            session as well, at its first append.
        purge: remove the bytes of a session when `delete_session` deletes it, and not after the store's grace.

    Raises:
        ValueError: `ownership` is neither.

    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        namespace: str,
        fallback: bool = False,
        allowed_types: Iterable[str] = (),
        ownership: Ownership = "shared",
        purge: bool = False,
    ) -> None:
        self.ownership = ownership = checked_ownership(ownership)
        self._client = client
        self._purge = purge
        self._namespace = namespace
        self._checkpoints = Checkpoints(client, namespace, fallback)
        self._values = Values(allowed_types)
        self._events = Events(self._values)
        self._reads = Reads(self._checkpoints, self._values, self._events)
        self._states = SharedStates(self._checkpoints, self._values)
        self._appends = Appends(self._checkpoints, self._values, self._reads, self._states, ownership)
        self._turns = Turns()

    @classmethod
    @asynccontextmanager
    async def from_target(
        cls,
        target: str,
        *,
        namespace: str,
        fallback: bool = False,
        allowed_types: Iterable[str] = (),
        ownership: Ownership = "shared",
        purge: bool = False,
        **options: Any,
    ) -> AsyncIterator[Self]:
        """Yield a service with a client of its own, closed with the block.

        Args:
            target: host:port of the server.
            namespace: the namespace of the sessions.
            fallback: as for the class.
            allowed_types: as for the class.
            ownership: as for the class.
            purge: as for the class.
            options: arguments of `holdfast.AsyncClient`, such as `timeout` in seconds.

        """
        async with AsyncClient(target, **options) as client:
            yield cls(
                client,
                namespace=namespace,
                fallback=fallback,
                allowed_types=allowed_types,
                ownership=ownership,
                purge=purge,
            )

    async def create_session(
        self, *, app_name: str, user_id: str, state: dict[str, Any] | None = None, session_id: str | None = None
    ) -> Session:
        """Create a session, with a new id if none is given.

        Raises:
            AlreadyExistsError: the user has a session with this id.
            InvalidRequestError: a value of the state cannot be kept; `metadata["path"]` names it.
            HoldfastError: a subclass for each other reason.

        """
        session_id = required("session_id", session_id or "").strip() or platform_uuid.new_uuid()
        place = place_of(app_name, user_id, session_id)
        changes = self._events.changes(state or {})
        shared, own = place.split(changes)
        now = platform_time.get_time()
        parts = {"changes": dumped({key: changes[key] for key in changes.keys() - own.keys()})} if shared else {}
        data = Since(now).parts(parts, own, now)
        try:
            saved = await self._checkpoints.save(place.workflow, data, format=SESSION_FORMAT, expected_revision=0)
        except RevisionConflictError as error:
            raise AlreadyExistsError(f"Session with id {session_id} already exists.") from error
        await self._appends.apply(place, shared, saved.checkpoint_id)
        session = Session(id=session_id, app_name=app_name, user_id=user_id, last_update_time=now)
        session.state = self._values.load(own)
        Mark(saved.checkpoint_id, saved.checkpoint_id, saved.revision).put(session)
        return await self._states.merge(session)

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        """Return a session with its events, oldest first; None if there is none.

        Args:
            app_name: the app.
            user_id: the user.
            session_id: the session.
            config: which events; None for all.

        Raises:
            CheckpointCorruptedError: one of these events is damaged, or one that the state is made from.
            HoldfastError: a subclass for each other reason.

        """
        session_id = required("session_id", session_id).strip()
        place = place_of(app_name, user_id, session_id)
        newest = await self._checkpoints.find(place.workflow, SESSION_FORMATS, records=True)
        if newest is None:
            return None
        try:
            found = await self._reads.read(place, newest, config or GetSessionConfig())
        except MISSING:
            if await self._is_gone(place):
                return None
            raise
        await self._appends.apply_late(place, newest)
        session = Session(id=session_id, app_name=app_name, user_id=user_id, last_update_time=found.entry.since.updated)
        session.state = self._reads.values(found)
        session.events = list(found.events)
        Mark(newest.checkpoint_id, found.entry.checkpoint_id, newest.head_revision or None).put(session)
        return await self._states.merge(session)

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """Return the sessions of an app, or of one of its users, without events, the last updated one last.

        A session that cannot be read is listed without state, and logged as a warning.

        Raises:
            HoldfastError: a subclass for each reason; CHECKPOINT_CORRUPTED and the like only if no session can be read.

        """
        sessions: list[Session] = []
        unreadable: list[HoldfastError] = []
        states: dict[str, dict[str, Any]] = {}
        prefix = prefix_of(app_name, user_id)
        async for found in self._client.list_workflows(self._namespace, prefix=prefix, page_size=1000):
            named = listed(found)
            if not found.checkpoint_revision or named is None:
                continue
            place, session = named
            try:
                if not await self._fill(place, session, states):
                    continue
            except _UNREADABLE as error:
                if isinstance(error, MISSING) and await self._is_gone(place):
                    continue
                _LOG.warning("session %r of user %r cannot be read: %s", session.id, session.user_id, error)
                unreadable.append(error)
            sessions.append(session)
        if unreadable and len(unreadable) == len(sessions):
            raise unreadable[0]
        sessions.sort(key=lambda each: (each.last_update_time, each.user_id, each.id))
        return ListSessionsResponse(sessions=sessions)

    async def _fill(self, place: Place, session: Session, states: dict[str, dict[str, Any]]) -> bool:
        """Fill in a listed session's state and time. Returns False if it was deleted since."""
        newest = await self._checkpoints.find(place.workflow, SESSION_FORMATS)
        if newest is None:
            return False
        found = await self._reads.read(place, newest, GetSessionConfig(num_recent_events=0))
        state = self._reads.values(found)
        session.last_update_time = found.entry.since.updated
        session.state = state
        await self._states.merge(session, states)
        return True

    async def _is_gone(self, place: Place) -> bool:
        """Tell whether a session was deleted since it was found, and is not merely without one of its checkpoints."""
        return await self._checkpoints.find(place.workflow, SESSION_FORMATS) is None

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Delete a session; if there is none, nothing happens. App and user state stay."""
        place = place_of(app_name, user_id, required("session_id", session_id).strip())
        try:
            await self._client.delete_workflow(self._namespace, place.workflow, purge=self._purge)
        except MISSING:
            return

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """Return the state that all sessions of a user share, by keys without their prefix."""
        return await self._states.of_user(required("app_name", app_name), required("user_id", user_id))

    async def append_event(self, session: Session, event: Event) -> Event:
        """Append an event to a session, which must be as it is stored. A partial event is not stored.

        An append whose outcome is not known may be made again, with the same session and event: it is stored once.

        Raises:
            SessionConflictError: the session was written to since this copy of it was read; it is a StaleSessionError.
            SessionNotFoundError: there is none, or it was deleted.
            InvalidRequestError: a value of the event cannot be kept; `metadata["path"]` names it.
            HoldfastError: a subclass for each other reason.

        """
        if event.partial:
            return event
        place = place_of(session.app_name, session.user_id, session.id)
        parts = self._events.dump(event)
        self._apply_temp_state(session, event)
        event = self._trim_temp_delta_state(event)
        async with self._turns.of(place.workflow):
            if any(each.id == event.id and self._events.dump(each) == parts for each in session.events):
                return event
            await self._appends.append(place, session, event, parts)
            session.last_update_time = event.timestamp
            return self._commit_event_to_session(session, event)
