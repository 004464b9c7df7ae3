"""Open the saver that a URL or a module names.

A source is opened for reading only, and its tables are never created or migrated. The packages of the savers are not
requirements of this one: an error names the one that is missing.
"""

import inspect
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import unquote

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from holdfast._core import attributes
from holdfast.adapters.sqlite_copy import read_only, readable
from holdfast.adapters.threaded import in_thread_to_end
from holdfast.moving import SourceError

_EXPECTED = "expected sqlite:///FILE, postgresql://HOST/DATABASE or MODULE:ATTRIBUTE"
_NAME = re.compile(r"[\w.]+:[\w.]+")
_SHOWN = re.compile(r"(?!.*://)[^@=]*", re.DOTALL)
_SQLITE_PATH = re.compile(r"[^?#]*", re.DOTALL)
_SQLITE = "sqlite"
_POSTGRES = ("postgresql", "postgres")


@asynccontextmanager
async def opened_source(name: str, serde: Any = None) -> AsyncIterator[Any]:
    """Open the saver of a source, read-only.

    Args:
        name: a URL of a database, or a module and an attribute.
        serde: the serializer of the saver; None for its own.

    Raises:
        SourceError: it cannot be opened, or its package is not installed.

    """
    scheme = _scheme(name)
    if scheme == _SQLITE:
        async with _sqlite_source(_path(name), serde) as saver:
            yield saver
    elif scheme in _POSTGRES:
        async with _postgres(name, serde, is_source=True) as saver:
            yield saver
    else:
        async with _named_saver(name, serde) as saver:
            yield saver


@asynccontextmanager
async def opened_target(name: str, serde: Any = None, *, is_dry_run: bool = False) -> AsyncIterator[Any]:
    """Open the saver of a target, and create its tables if they do not exist.

    Args:
        name: a URL of a database, or a module and an attribute.
        serde: the serializer of the saver; None for its own.
        is_dry_run: open it read-only; a database without tables is as one without threads.

    Raises:
        SourceError: it cannot be opened, or its package is not installed.

    """
    scheme = _scheme(name)
    if is_dry_run and scheme in (_SQLITE, *_POSTGRES):
        try:
            async with opened_source(name, serde) as saver:
                yield saver
                return
        except _NoTablesError:
            yield InMemorySaver(serde=serde)
    elif scheme == _SQLITE:
        module = _imported("langgraph.checkpoint.sqlite", "langgraph-checkpoint-sqlite")
        with _reported(name), closing(sqlite3.connect(_path(name), check_same_thread=False)) as connection:
            saver = module.SqliteSaver(connection, serde=serde)
            # It waits for others that write to the file.
            await in_thread_to_end(saver.setup, connection.interrupt)
            yield saver
    elif scheme in _POSTGRES:
        async with _postgres(name, serde, is_source=False) as saver:
            yield saver
    else:
        async with _named_saver(name, serde) as saver:
            yield saver


def named(name: str) -> Any:
    """Return the attribute that MODULE:ATTRIBUTE names. Modules in the current folder are found, too.

    Raises:
        SourceError: there is none.

    """
    if not _NAME.fullmatch(name):
        # Other names may be those of databases, with a password.
        shown = f" {name!r:.200}" if _SHOWN.fullmatch(name) else ""
        raise SourceError(f"invalid name{shown}: {_EXPECTED}")
    try:
        return attributes.named(name)
    except ValueError as error:
        raise SourceError(str(error)) from error.__cause__


class _NoTablesError(SourceError):
    """The database has no tables of a saver, or does not exist."""


def _scheme(name: str) -> str:
    """Return the scheme of a URL; "" for any other name."""
    scheme, separator, _ = name.partition("://")
    return scheme.lower() if separator else ""


def _path(url: str) -> str:
    """Return the file that a URL names: one relative to the current folder after three slashes, as in SQLAlchemy."""
    rest = url.partition("://")[2]
    path = unquote(rest.removeprefix("/"), errors="surrogateescape")
    if not rest.startswith("/") or not path.strip("/") or not _SQLITE_PATH.fullmatch(rest) or "\0" in path:
        raise SourceError(
            f"invalid URL {url!r:.200}: expected sqlite:///FILE, or sqlite:////FOLDER/FILE for a full path; "
            "in a URL, %3F is a question mark, %23 a number sign, and %25 a percent sign"
        )
    return path


@asynccontextmanager
async def _sqlite_source(path: str, serde: Any) -> AsyncIterator[Any]:
    module = _imported("langgraph.checkpoint.sqlite", "langgraph-checkpoint-sqlite")
    await in_thread_to_end(partial(_require_content, path))
    async with readable(path) as file:
        with _reported(path), closing(read_only(file)) as connection:
            columns = await in_thread_to_end(partial(_columns, connection), connection.interrupt)
            if not all(columns.values()):
                raise _NoTablesError(f"{path!r} has no tables of langgraph-checkpoint-sqlite")
            saver = module.SqliteSaver(connection, serde=serde)
            # Otherwise the first read creates and migrates the tables.
            saver.is_setup = True
            if "task_path" not in columns["writes"]:
                saver._has_task_path = False  # noqa: SLF001 - the saver sets it only where it migrates
            yield saver


def _require_content(path: str) -> None:
    """Check that a file exists and is not empty.

    Raises:
        SourceError: it does not exist, or is empty.

    """
    if not os.path.exists(path):
        absolute = f"; a full path begins with four slashes: sqlite:////{path}" if os.path.isfile(f"/{path}") else ""
        raise _NoTablesError(f"there is no file {path!r} in {os.getcwd()!r}{absolute}")
    if os.path.isfile(path) and not os.path.getsize(path):
        raise _NoTablesError(f"{path!r} is empty")


def _columns(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """Return the names of the columns of each table; none if it does not exist."""
    statement = "SELECT name FROM pragma_table_info(?)"
    return {table: {name for (name,) in connection.execute(statement, (table,))} for table in ("checkpoints", "writes")}


@asynccontextmanager
async def _postgres(url: str, serde: Any, *, is_source: bool) -> AsyncIterator[Any]:
    module = _imported("langgraph.checkpoint.postgres.aio", "langgraph-checkpoint-postgres", "psycopg[binary]")
    psycopg = _imported("psycopg", "psycopg[binary]")
    rows = _imported("psycopg.rows", "psycopg[binary]")
    parameters = _parameters(url)
    with _reported(_without_password(parameters)):
        connection = await psycopg.AsyncConnection.connect(
            **parameters, autocommit=True, prepare_threshold=0, row_factory=rows.dict_row
        )
        async with connection:
            saver = module.AsyncPostgresSaver(connection, serde=serde)
            if is_source:
                await connection.execute("SET default_transaction_read_only = on")
                await _require_tables(connection, saver)
            else:
                await saver.setup()
            yield saver


async def _require_tables(connection: Any, saver: Any) -> None:
    """Check that the tables exist and are of the version that the saver reads.

    Raises:
        SourceError: they are not.

    """

    async def first(statement: str) -> Any:
        return (await (await connection.execute(statement)).fetchone())["found"]

    if await first("SELECT to_regclass('checkpoint_migrations') AS found") is None:
        raise _NoTablesError("the database has no tables of langgraph-checkpoint-postgres")
    found = await first("SELECT max(v) AS found FROM checkpoint_migrations")
    expected = len(saver.MIGRATIONS) - 1
    if found is None or found < expected:
        raise SourceError(
            f"the tables have version {found}, the installed langgraph-checkpoint-postgres reads version {expected}: "
            "install the one that wrote them, or let its setup() migrate them first"
        )


def _parameters(url: str) -> dict[str, Any]:
    """Return the parameters of a connection.

    Raises:
        SourceError: the URL is invalid. Psycopg's own messages contain parts of it, such as the password.

    """
    psycopg, conninfo = _imported("psycopg", "psycopg[binary]"), _imported("psycopg.conninfo", "psycopg[binary]")
    try:
        found: dict[str, Any] = conninfo.conninfo_to_dict(f"{_scheme(url)}://{url.partition('://')[2]}")
    except psycopg.ProgrammingError:
        found = {}
    # A password that is not encoded ends up in other parameters.
    ports = re.fullmatch(r"[0-9,]*", found.get("port", ""))
    if not found or not ports or any("@" in found.get(name, "") for name in ("host", "dbname")):
        raise SourceError(
            "invalid URL of Postgres: expected postgresql://USER@HOST:PORT/DATABASE; "
            "in a password, characters such as / ? # @ and % must be percent-encoded"
        )
    return found


def _without_password(parameters: Mapping[str, Any]) -> str:
    """Return the URL of a database for a message."""
    port = f":{parameters['port']}" if "port" in parameters else ""
    return f"postgresql://{parameters.get('host', '')}{port}/{parameters.get('dbname', '')}"


@asynccontextmanager
async def _named_saver(name: str, serde: Any) -> AsyncIterator[Any]:
    """Open the saver that MODULE:ATTRIBUTE names: a saver, or a function that returns one or a context manager."""
    found = named(name)
    async with AsyncExitStack() as stack:
        try:
            found = await _made(found, stack)
        except Exception as error:
            raise SourceError(f"{name!r:.200} cannot be opened: {type(error).__name__}: {error}") from error
        if not isinstance(found, BaseCheckpointSaver):
            raise SourceError(f"{name!r:.200} is {type(found).__name__}: expected a BaseCheckpointSaver of LangGraph")
        if serde is not None:
            found.serde = serde
        yield found


async def _made(found: Any, stack: AsyncExitStack) -> Any:
    """Return the saver that an attribute is or makes, entered if it is a context manager."""
    if not isinstance(found, BaseCheckpointSaver) and callable(found):
        found = found()
    if inspect.isawaitable(found):
        found = await found
    if hasattr(found, "__aenter__"):
        return await stack.enter_async_context(found)
    return stack.enter_context(found) if hasattr(found, "__enter__") else found


def _imported(module: str, *packages: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise SourceError(f"{error}: install it with pip install {' '.join(map(repr, packages))}") from error


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """Report errors of a database as those of a source."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("sqlite3", "psycopg"):
            raise
        raise SourceError(f"{name}: {error}") from error
