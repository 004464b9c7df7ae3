"""The session service, which implements ADK's interface.

A session is a workflow. Each event is a checkpoint that contains the event and its changes to state, and sometimes the
whole state of the session. It needs the checkpoint of the event before it. App and user state are workflows of their
own. An event's changes to them are applied after the event is committed. If the process that appended the event ends
before that, the next read of the session applies them.
"""

import logging
from collections.abc import Iterable
from typing import Any

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
from holdfast.adapters.adk.appender import Appender
from holdfast.adapters.adk.chain import Since, dumped
from holdfast.adapters.adk.checkpoints import MISSING, Checkpoints
from holdfast.adapters.adk.events import Events
from holdfast.adapters.adk.locks import SessionLocks
from holdfast.adapters.adk.origin import Origin
from holdfast.adapters.adk.reader import SESSION_FORMAT, SESSION_FORMATS, SessionReader
from holdfast.adapters.adk.states import SharedStates
from holdfast.adapters.adk.values import Values
from holdfast.adapters.adk.workflows import (
    SessionWorkflows,
    checked_name,
    listed_session,
    session_prefix,
    session_workflows,
)
from holdfast.adapters.from_target import AsyncFromTarget
from holdfast.adapters.runs import Ownership, checked_ownership

_LOG = logging.getLogger(__name__)
_UNREADABLE = (CheckpointCorruptedError, FormatIncompatibleError, *MISSING)


class HoldfastSessionService(AsyncFromTarget, BaseSessionService):
    """A session service for Google ADK. Several event loops may share it.

    Every method raises HoldfastError, a subclass for each reason: CheckpointCorruptedError if stored bytes are damaged,
    FormatIncompatibleError if a newer adapter wrote them, ServerUnavailableError if the server cannot be reached.

    Args:
        client: an open client, which the caller closes.
        namespace: the namespace of the sessions.
        fallback: if stored bytes are damaged, return the session, or the state, as it was before the damage; otherwise
            raise CheckpointCorruptedError.
        allowed_types: the application's classes that states may contain, as "module:qualname".
        ownership: "shared": any process may append to a session that it has read, if the session was not changed since
            then. "exclusive": in addition, a run acquires its session at its first append.
        purge: remove the bytes of a session before `delete_session` returns, not after the store's grace.

    Raises:
        ValueError: `ownership` is neither "shared" nor "exclusive".

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
        self._reader = SessionReader(self._checkpoints, self._values, self._events)
        self._states = SharedStates(self._checkpoints, self._values)
        self._appender = Appender(self._checkpoints, self._values, self._reader, self._states, ownership)
        self._locks = SessionLocks()

    async def create_session(
        self, *, app_name: str, user_id: str, state: dict[str, Any] | None = None, session_id: str | None = None
    ) -> Session:
        """Create a session.

        Args:
            app_name: the app.
            user_id: the user.
            state: the initial state, with keys of app and user state as well.
            session_id: the id; None or "" for a new one.

        Raises:
            AlreadyExistsError: the user has a session with this id.
            InvalidRequestError: a value of the state cannot be stored; `metadata["path"]` names it.
            HoldfastError: a subclass for each other reason.

        """
        session_id = checked_name("session_id", session_id or "").strip() or platform_uuid.new_uuid()
        workflows = session_workflows(app_name, user_id, session_id)
        changes = self._events.changes(state or {})
        shared, own = workflows.split(changes)
        now = platform_time.get_time()
        parts = {"changes": dumped({key: changes[key] for key in changes.keys() - own.keys()})} if shared else {}
        data = Since(now).parts(parts, own, now)
        try:
            saved = await self._checkpoints.save(workflows.own, data, format=SESSION_FORMAT, expected_revision=0)
        except RevisionConflictError as error:
            raise AlreadyExistsError(f"Session with id {session_id} already exists.") from error
        await self._appender.apply(workflows, shared, saved.checkpoint_id)
        session = Session(id=session_id, app_name=app_name, user_id=user_id, last_update_time=now)
        session.state = self._values.load(own)
        Origin(saved.checkpoint_id, saved.checkpoint_id, saved.revision).put(session)
        return await self._states.merge(session)

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        """Return a session with its events, oldest first.

        Args:
            app_name: the app.
            user_id: the user.
            session_id: the session.
            config: which events to return; None for all.

        Returns:
            The session; None if it does not exist.

        Raises:
            CheckpointCorruptedError: one of these events, or an event that the state depends on, is damaged.
            HoldfastError: a subclass for each other reason.

        """
        session_id = checked_name("session_id", session_id).strip()
        workflows = session_workflows(app_name, user_id, session_id)
        newest = await self._checkpoints.find(workflows.own, SESSION_FORMATS, records=True)
        if newest is None:
            return None
        try:
            found = await self._reader.read(workflows, newest, config or GetSessionConfig())
        except MISSING:
            if await self._is_deleted(workflows):
                return None
            raise
        await self._appender.apply_late(workflows, newest)
        session = Session(id=session_id, app_name=app_name, user_id=user_id, last_update_time=found.link.since.updated)
        session.state = self._reader.values(found)
        session.events = list(found.events)
        Origin(newest.checkpoint_id, found.link.checkpoint_id, newest.head_revision or None).put(session)
        return await self._states.merge(session)

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """Return the sessions of an app, or of one of its users, without events. The one updated last comes last.

        A session that cannot be read is listed without its state, and logged as a warning.

        Args:
            app_name: the app.
            user_id: the user; None for all users.

        Raises:
            HoldfastError: a subclass for each reason. The error of a session that cannot be read is raised only if no
                session can be read.

        """
        sessions: list[Session] = []
        errors: list[HoldfastError] = []
        states: dict[str, dict[str, Any]] = {}
        prefix = session_prefix(app_name, user_id)
        async for found in self._client.list_workflows(self._namespace, prefix=prefix, page_size=1000):
            listed = listed_session(found)
            if not found.checkpoint_revision or listed is None:
                continue
            workflows, session = listed
            try:
                if not await self._fill(workflows, session, states):
                    continue
            except _UNREADABLE as error:
                if isinstance(error, MISSING) and await self._is_deleted(workflows):
                    continue
                _LOG.warning("session %r of user %r cannot be read: %s", session.id, session.user_id, error)
                errors.append(error)
            sessions.append(session)
        if errors and len(errors) == len(sessions):
            raise errors[0]
        sessions.sort(key=lambda session: (session.last_update_time, session.user_id, session.id))
        return ListSessionsResponse(sessions=sessions)

    async def _fill(self, workflows: SessionWorkflows, session: Session, states: dict[str, dict[str, Any]]) -> bool:
        """Set the state and the time of a listed session. Return False if it was deleted since it was listed."""
        newest = await self._checkpoints.find(workflows.own, SESSION_FORMATS)
        if newest is None:
            return False
        found = await self._reader.read(workflows, newest, GetSessionConfig(num_recent_events=0))
        state = self._reader.values(found)
        session.last_update_time = found.link.since.updated
        session.state = state
        await self._states.merge(session, states)
        return True

    async def _is_deleted(self, workflows: SessionWorkflows) -> bool:
        """Return whether a session no longer exists, to distinguish that from a missing checkpoint."""
        return await self._checkpoints.find(workflows.own, SESSION_FORMATS) is None

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Delete a session, if it exists. App and user state are not deleted.

        Args:
            app_name: the app.
            user_id: the user.
            session_id: the session.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        workflows = session_workflows(app_name, user_id, checked_name("session_id", session_id).strip())
        try:
            await self._client.delete_workflow(self._namespace, workflows.own, purge=self._purge)
        except MISSING:
            return

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """Return the state that all sessions of a user share, by keys without their prefix.

        Args:
            app_name: the app.
            user_id: the user.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        return await self._states.of_user(checked_name("app_name", app_name), checked_name("user_id", user_id))

    async def append_event(self, session: Session, event: Event) -> Event:
        """Append an event to a session. A partial event is not stored.

        If the outcome of an append is unknown, it may be repeated with the same session and event: the event is stored
        once.

        Args:
            session: the session, which gets the event and its changes to state.
            event: the event.

        Returns:
            The event, without its changes to temporary state.

        Raises:
            SessionConflictError: the session was changed since this copy of it was read. It is a StaleSessionError.
            SessionNotFoundError: the session does not exist, or was deleted.
            InvalidRequestError: a value of the event cannot be stored; `metadata["path"]` names it.
            HoldfastError: a subclass for each other reason.

        """
        if event.partial:
            return event
        workflows = session_workflows(session.app_name, session.user_id, session.id)
        parts = self._events.dump(event)
        self._apply_temp_state(session, event)
        event = self._trim_temp_delta_state(event)
        async with self._locks.of(workflows.own):
            if any(other.id == event.id and self._events.dump(other) == parts for other in session.events):
                return event
            await self._appender.append(workflows, session, event, parts)
            session.last_update_time = event.timestamp
            return self._commit_event_to_session(session, event)
