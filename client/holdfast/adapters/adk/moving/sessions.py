"""Import sessions with their events, and the states that they share."""

from collections.abc import Awaitable, Callable, Iterable
from os import PathLike
from typing import Any

from google.adk.sessions import Session, State

from holdfast._async.client import AsyncClient
from holdfast._core.errors import HoldfastError
from holdfast.adapters.adk.checkpoints import Checkpoints
from holdfast.adapters.adk.events import Events
from holdfast.adapters.adk.moving.chains import COMPARED, Chain, own_state
from holdfast.adapters.adk.moving.shared import SharedTarget
from holdfast.adapters.adk.moving.sources import Names, Source, opened, state_of
from holdfast.adapters.adk.service import HoldfastSessionService
from holdfast.adapters.adk.states import SharedStates
from holdfast.adapters.adk.values import Values
from holdfast.adapters.adk.workflows import SessionWorkflows, session_workflows, shared_workflows
from holdfast.adapters.logs import UNLOADABLE, Log, chosen
from holdfast.moving import Item, ItemError, Progress, Report, move_each


async def import_sessions(
    source: str | PathLike[str],
    client: AsyncClient,
    *,
    namespace: str,
    sessions: Iterable[str] | None = None,
    prefix: str = "",
    app_name: str | None = None,
    allowed_types: Iterable[str] = (),
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Import sessions of ADK's `DatabaseSessionService` or `SqliteSessionService`, and the states of apps and users.

    A session is imported as a whole or not at all: if one of its events cannot be read, or the target has it with other
    content, nothing of the session is written, and the other sessions are imported. Events that the target has already
    stay as they are, so a call that was interrupted can be repeated, and one after the source grew catches up. The
    states of an app and its users are imported before its sessions.

    Args:
        source: a SQLite file, which is copied to the folder for temporary files and not changed; or the URL of a
            database as SQLAlchemy takes it, which is read in read-only transactions.
        client: an open client of the target.
        namespace: the namespace of the target.
        sessions: the ids of the sessions to import; None for all.
        prefix: the text that the ids begin with.
        app_name: the app whose sessions to import; None for all.
        allowed_types: the application's classes that states may contain, as for `HoldfastSessionService`.
        dry_run: read and compare everything, and write nothing.
        progress: called with the record of a session, or a state, as it grows.

    Returns:
        What was imported, and why other sessions and states were not. Their names are their workflows.

    Raises:
        SourceError: the database does not exist, cannot be read, or is not one of ADK's sessions.
        HoldfastError: a subclass for each reason. What was imported until then stays.

    """
    async with opened(source) as database:
        target = _Target(database, client, namespace, allowed_types, dry_run=dry_run)
        found = {_name(names): names for names in database.sessions if app_name in (None, names.app_name)}
        wanted = [name async for name in chosen(found, sessions, prefix, lambda names: str(names.session_id))]
        is_all = sessions is None and not prefix
        states = _states(database, [found[name] for name in wanted if name in found], app_name, is_all=is_all)
        moves: dict[str, Callable[[Item], Awaitable[None]]] = {}
        for workflow, (app, state) in states.items():
            moves[workflow] = target.state_move(workflow, app, state)
        for name in wanted:
            moves[name] = target.session_move(found.get(name))

        async def names() -> Any:
            for name in moves:
                yield name

        async def move(item: Item) -> None:
            await moves[item.name](item)

        return await move_each(names(), move, progress)


def _name(names: Names) -> str:
    try:
        return session_workflows(names.app_name, names.user_id, names.session_id).own
    except HoldfastError:
        return ":".join(map(str, (names.app_name, names.user_id, names.session_id)))


def _states(
    database: Source, sessions: Iterable[Names], app_name: str | None, *, is_all: bool
) -> dict[str, tuple[str, Any]]:
    """Return the states to import, by workflow, each with its app. If only some sessions are, those that they share."""
    users = {(names.app_name, names.user_id) for names in sessions}
    apps = {app for app, _ in users}
    found: dict[str, tuple[str, Any]] = {}
    for app, state in database.app_states.items():
        if app_name in (None, app) and (is_all or app in apps):
            found[shared_workflows(app, "")[State.APP_PREFIX]] = app, state
    for (app, user), state in database.user_states.items():
        if app_name in (None, app) and (is_all or (app, user) in users):
            found[shared_workflows(app, user)[State.USER_PREFIX]] = app, state
    return found


class _Target:
    """The target of an import.

    Args:
        database: the source.
        client: an open client.
        namespace: the namespace.
        allowed_types: the application's classes that states may contain.
        dry_run: write nothing.

    """

    def __init__(
        self, database: Source, client: AsyncClient, namespace: str, allowed_types: Iterable[str], *, dry_run: bool
    ) -> None:
        allowed = list(allowed_types)
        self._database = database
        self._client = client
        self._namespace = namespace
        self._dry_run = dry_run
        self._checkpoints = Checkpoints(client, namespace, fallback=False)
        self._values = Values(allowed)
        self._events = Events(self._values)
        self._shared = SharedTarget(self._checkpoints, self._values, SharedStates(self._checkpoints, self._values))
        self._service = HoldfastSessionService(client, namespace=namespace, allowed_types=allowed)
        # The states that were not imported.
        self._refused: set[str] = set()

    def state_move(self, workflow: str, app: str, state: Any) -> Callable[[Item], Awaitable[None]]:
        """Return a function that imports a state."""

        async def move(item: Item) -> None:
            try:
                values = state_of(state, self._database.shown)
                await self._shared.move(workflow, values, item, dry_run=self._dry_run)
            except ItemError:
                self._refused.add(workflow)
                raise

        return move

    def session_move(self, names: Names | None) -> Callable[[Item], Awaitable[None]]:
        """Return a function that imports a session; None if the source does not have it."""

        async def move(item: Item) -> None:
            if names is None:
                raise ItemError("NOT_FOUND", f"{self._database.shown} has no session {item.name!r:.200}")
            await self._move(names, item)

        return move

    async def _move(self, names: Names, item: Item) -> None:
        workflows = _workflows(names)
        for workflow in workflows.shared.values():
            if workflow in self._refused:
                raise ItemError("OTHER_CONTENT", f"the state {workflow!r}, which it shares, was not imported")
        session = await self._database.session(names)
        chain = Chain(workflows, session, self._values, self._events)
        log = await Log.of(self._client, self._namespace, workflows.own, compared=COMPARED)
        await log.compare(chain.entries(log))
        entries = chain.entries(log) if self._dry_run else chain.applied(log, self._checkpoints)
        await log.fill(entries, item, dry_run=self._dry_run)
        if not self._dry_run:
            await self._verify(names, chain, session, has_moved_on=log.has_moved_on)
            item.add(verified=chain.length)

    async def _verify(self, names: Names, chain: Chain, imported: Session, *, has_moved_on: bool) -> None:
        """Load a session from both stores, and compare its events, its own state, and the time of its last event.

        Raises:
            ItemError: they differ, or the session was changed in the source since it was read.
            HoldfastError: a subclass for each reason.

        """
        session = await self._database.session(names)
        events = chain.parts_of(session)
        if events != chain.parts_of(imported) or own_state(session) != own_state(imported):
            raise ItemError("SOURCE_CHANGED", "it was changed in the source while it was imported: import again")
        try:
            found = await self._service.get_session(
                app_name=names.app_name, user_id=names.user_id, session_id=names.session_id
            )
        except UNLOADABLE as error:
            raise ItemError("DIFFERENT", f"it cannot be loaded from the target: {error}") from error
        if found is None:
            raise ItemError("DIFFERENT", "it is missing in the target")
        of_target = chain.parts_of(found)
        if of_target[: len(events)] != events:
            raise ItemError("DIFFERENT", "the events differ in the target")
        if has_moved_on:
            return
        if len(of_target) != len(events) or own_state(found) != own_state(session):
            raise ItemError("DIFFERENT", "the state differs in the target")
        if found.last_update_time != session.last_update_time:
            raise ItemError("DIFFERENT", "the time of the last update differs in the target")


def _workflows(names: Names) -> SessionWorkflows:
    try:
        workflows = session_workflows(names.app_name, names.user_id, names.session_id)
    except HoldfastError as error:
        raise ItemError("UNREADABLE", error.message) from error
    if not names.session_id or names.session_id != names.session_id.strip():
        raise ItemError("UNREADABLE", "its id is empty, or begins or ends with white space, which services remove")
    return workflows
