"""Open the databases of ADK's session services for reading, by ADK's own classes.

ADK creates tables and indexes when it opens a database. So a SQLite file is copied. A server's database is read in
read-only transactions, and its tables are checked here.
"""

import json
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from google.adk.sessions import BaseSessionService, Session

from holdfast.adapters.lost import require_usable
from holdfast.adapters.sqlite_copy import columns, copied, listed, require_table
from holdfast.moving import ItemError, SourceError

_TABLES = ("sessions", "events", "app_states", "user_states")
_SESSIONS = frozenset({"app_name", "user_id", "id", "state", "update_time"})
_SQLITE = ("sqlite:", "sqlite+aiosqlite:")
# The drivers that ADK names, for URLs without one.
_ASYNCHRONOUS = {"postgresql": "asyncpg", "mysql": "aiomysql", "mariadb": "asyncmy"}
# By driver, so that the server refuses every change.
_READ_ONLY: dict[str, dict[str, Any]] = {
    "asyncpg": {"server_settings": {"default_transaction_read_only": "on"}},
    "psycopg": {"options": "-c default_transaction_read_only=on"},
    "aiomysql": {"init_command": "SET SESSION TRANSACTION READ ONLY"},
    "asyncmy": {"init_command": "SET SESSION TRANSACTION READ ONLY"},
}


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a session."""

    app_name: str
    user_id: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Source:
    """A database of sessions, which is only read.

    Attributes:
        shown: its name in errors, without a password.
        service: ADK's own service, with which sessions are read.
        sessions: the names of the sessions, the one that was updated last at the end.
        app_states: the states of apps that are not empty, as stored: JSON text, or values.
        user_states: the same of users, by app and user.

    """

    shown: str
    service: BaseSessionService
    sessions: Sequence[Names]
    app_states: Mapping[str, Any]
    user_states: Mapping[tuple[str, str], Any]

    async def session(self, names: Names) -> Session:
        """Return a session with its events and all of its state.

        Raises:
            ItemError: ADK cannot read it, or it was deleted.
            SourceError: the database cannot be used any more.

        """
        try:
            found: Session | None = await self.service.get_session(
                app_name=names.app_name, user_id=names.user_id, session_id=names.session_id
            )
        except Exception as error:
            require_usable(self.shown, error)
            raise ItemError("UNREADABLE", f"ADK cannot read it from {self.shown}: {_described(error)}") from error
        if found is None:
            raise ItemError("SOURCE_CHANGED", f"it was deleted from {self.shown}")
        return found


def state_of(stored: Any, shown: str) -> dict[str, Any]:
    """Return the values of a state of an app or a user.

    Raises:
        ItemError: it is not a JSON object.

    """
    try:
        found = json.loads(stored) if isinstance(stored, str | bytes) else stored
    except (ValueError, RecursionError) as error:
        raise ItemError("UNREADABLE", f"the state in {shown} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ItemError("UNREADABLE", f"the state in {shown} must be a JSON object, not {type(found).__name__}")
    return found


@asynccontextmanager
async def opened(source: str | PathLike[str]) -> AsyncIterator[Source]:
    """Open a database for reading.

    Args:
        source: a SQLite file, or a URL as SQLAlchemy takes it.

    Raises:
        SourceError: the database does not exist, cannot be read, or is not one of ADK's sessions.

    """
    name = fspath(source)
    if name.startswith(_SQLITE):
        # As in SQLAlchemy: three slashes and a relative path, or four and an absolute one.
        path = unquote(name.partition("://")[2].partition("?")[0]).removeprefix("/")
        if not path or path == ":memory:":
            raise SourceError(f"{name} names no file: expected sqlite:///PATH")
        async with _file(path) as found:
            yield found
    elif "://" in name:
        async with _server(name) as found:
            yield found
    else:
        async with _file(name) as found:
            yield found


@asynccontextmanager
async def _file(path: str) -> AsyncIterator[Source]:
    async with copied(path) as copy:
        require_table(copy, path, "sessions", _SESSIONS, "ADK's sessions")
        events = columns(copy, "events")
        is_of_sqlalchemy = bool(columns(copy, "adk_internal_metadata")) or "event_data" not in events
        service = _database_service(f"sqlite+aiosqlite:///{copy}", path) if is_of_sqlalchemy else _sqlite_service(copy)
        try:
            yield Source(path, service, *_names_and_states(copy, path))
        finally:
            await service.close()


def _names_and_states(
    copy: Path, shown: str
) -> tuple[Sequence[Names], Mapping[str, Any], Mapping[tuple[str, str], Any]]:
    try:
        sessions = listed(
            copy, "SELECT app_name, user_id, id FROM sessions ORDER BY update_time, app_name, user_id, id"
        )
        apps = listed(copy, "SELECT app_name, state FROM app_states")
        users = listed(copy, "SELECT app_name, user_id, state FROM user_states")
    except sqlite3.Error as error:
        raise SourceError(f"{shown} cannot be read as ADK's sessions: {error}") from error
    return (
        [Names(*row) for row in sessions],
        {app: state for app, state in apps if state not in ("{}", None)},
        {(app, user): state for app, user, state in users if state not in ("{}", None)},
    )


@asynccontextmanager
async def _server(url: str) -> AsyncIterator[Source]:
    sqlalchemy = _sqlalchemy()
    checks = import_module("google.adk.sessions.migration._schema_check_utils")
    try:
        parsed = sqlalchemy.make_url(url)
    except Exception:  # noqa: BLE001 - SQLAlchemy's message contains the URL
        raise SourceError(
            "the source is not a valid URL: expected such as postgresql+asyncpg://USER@HOST/NAME"
        ) from None
    shown = parsed.set(query={}).render_as_string(hide_password=True)
    if "+" not in parsed.drivername and parsed.drivername in _ASYNCHRONOUS:
        parsed = parsed.set(drivername=f"{parsed.drivername}+{_ASYNCHRONOUS[parsed.drivername]}")
    options: dict[str, Any] = {}
    driver = parsed.drivername.partition("+")[2]
    if driver in _READ_ONLY:
        options["connect_args"] = _READ_ONLY[driver]
    service = _database_service(parsed.render_as_string(hide_password=False), shown, **options)
    try:
        try:
            async with service.db_engine.connect() as connection:
                tables = await connection.run_sync(lambda it: sqlalchemy.inspect(it).get_table_names())
                if missing := [table for table in _TABLES if table not in tables]:
                    raise SourceError(f"{shown} has no table {missing[0]!r}: it is not a database of ADK's sessions")
                version = await connection.run_sync(checks.get_db_schema_version_from_connection)
            # ADK would create what it misses.
            service._db_schema_version, service._tables_created = version, True  # noqa: SLF001
            source = await _of_server(service, shown)
        except SourceError:
            raise
        except Exception as error:
            raise SourceError(f"{shown} cannot be read: {_described(error)}") from error
        yield source
    finally:
        await service.close()


async def _of_server(service: Any, shown: str) -> Source:
    select = _sqlalchemy().select
    schema = service._get_schema_classes()  # noqa: SLF001 - the classes of the installed version's tables
    async with service.db_engine.connect() as connection:
        row = schema.StorageSession
        query = select(row.app_name, row.user_id, row.id).order_by(row.update_time, row.app_name, row.user_id, row.id)
        sessions = [Names(*found) for found in await connection.execute(query)]
        row = schema.StorageAppState
        apps = {app: state for app, state in await connection.execute(select(row.app_name, row.state)) if state}
        row = schema.StorageUserState
        query = select(row.app_name, row.user_id, row.state)
        users = {(app, user): state for app, user, state in await connection.execute(query) if state}
    return Source(shown, service, sessions, apps, users)


def _sqlite_service(copy: Path) -> Any:
    return import_module("google.adk.sessions.sqlite_session_service").SqliteSessionService(str(copy))


def _database_service(url: str, shown: str, **options: Any) -> Any:
    _sqlalchemy()
    module = import_module("google.adk.sessions.database_session_service")
    try:
        return module.DatabaseSessionService(url, **options)
    except Exception as error:
        missing = f" ({error.__cause__})" if isinstance(error.__cause__, ImportError) else ""
        raise SourceError(f"ADK cannot open {shown}: {error}{missing}") from error


def _sqlalchemy() -> Any:
    try:
        return import_module("sqlalchemy")
    except ImportError as error:
        raise SourceError(f"the source needs SQLAlchemy: install google-adk[db] ({error})") from error


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:1000]
