"""Open the saver that a URL or a module names.

A source is opened for reading only, and its tables are never created or migrated. The packages of the savers are not
requirements of this one: an error names the one that is missing.
"""

import inspect
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from importlib import import_module
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from holdfast.moving import SourceError

_EXPECTED = "expected sqlite:///FILE, postgresql://HOST/DATABASE or MODULE:ATTRIBUTE"
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
    scheme = urlsplit(name).scheme if "://" in name else ""
    if scheme == _SQLITE:
        with _sqlite_source(_path(name), serde) as saver:
            yield saver
    elif scheme in _POSTGRES:
        with _postgres(name, serde, is_source=True) as saver:
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
    scheme = urlsplit(name).scheme if "://" in name else ""
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
            saver.setup()
            yield saver
    elif scheme in _POSTGRES:
        with _postgres(name, serde, is_source=False) as saver:
            yield saver
    else:
        async with _named_saver(name, serde) as saver:
            yield saver


def named(name: str) -> Any:
    """Return the attribute that MODULE:ATTRIBUTE names. Modules in the current folder are found, too.

    Raises:
        SourceError: there is none.

    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute or "/" in name:
        raise SourceError(f"invalid name {name!r:.200}: {_EXPECTED}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise SourceError(f"{name!r:.200} cannot be imported: {error}") from error
    return found


class _NoTablesError(SourceError):
    """The database has no tables of a saver, or does not exist."""


def _path(url: str) -> str:
    """Return the file that a URL names: one relative to the current folder after three slashes, as in SQLAlchemy."""
    parts = urlsplit(url)
    if parts.netloc or not parts.path.strip("/") or parts.query or parts.fragment:
        raise SourceError(
            f"invalid URL {url!r:.200}: expected sqlite:///FILE, or sqlite:////FOLDER/FILE for a full path"
        )
    return unquote(parts.path[1:])


@contextmanager
def _sqlite_source(path: str, serde: Any) -> Iterator[Any]:
    module = _imported("langgraph.checkpoint.sqlite", "langgraph-checkpoint-sqlite")
    if not os.path.isfile(path):
        absolute = f"; a full path begins with four slashes: sqlite:////{path}" if os.path.isfile(f"/{path}") else ""
        raise _NoTablesError(f"there is no file {path!r} in {os.getcwd()!r}{absolute}")
    with _reported(path):
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, check_same_thread=False)
        with closing(connection):
            columns = {row[0] for row in connection.execute("SELECT name FROM pragma_table_info('writes')")}
            tables = connection.execute("SELECT name FROM sqlite_master WHERE name IN ('checkpoints', 'writes')")
            if len(tables.fetchall()) < 2:
                raise _NoTablesError(f"{path!r} has no tables of langgraph-checkpoint-sqlite")
            saver = module.SqliteSaver(connection, serde=serde)
            # Otherwise the first read creates and migrates the tables.
            saver.is_setup = True
            if "task_path" not in columns:
                saver._has_task_path = False  # noqa: SLF001 - the saver sets it only where it migrates
            yield saver


@contextmanager
def _postgres(url: str, serde: Any, *, is_source: bool) -> Iterator[Any]:
    module = _imported("langgraph.checkpoint.postgres", "langgraph-checkpoint-postgres", "psycopg[binary]")
    psycopg = _imported("psycopg", "psycopg[binary]")
    rows = _imported("psycopg.rows", "psycopg[binary]")
    with _reported(_without_password(url)):
        connection = psycopg.connect(url, autocommit=True, prepare_threshold=0, row_factory=rows.dict_row)
        with closing(connection):
            saver = module.PostgresSaver(connection, serde=serde)
            if is_source:
                connection.execute("SET default_transaction_read_only = on")
                _require_tables(connection, saver)
            else:
                saver.setup()
            yield saver


def _require_tables(connection: Any, saver: Any) -> None:
    """Check that the tables exist and are of the version that the saver reads.

    Raises:
        SourceError: they are not.

    """
    name = connection.execute("SELECT to_regclass('checkpoint_migrations') AS name").fetchone()["name"]
    if name is None:
        raise _NoTablesError("the database has no tables of langgraph-checkpoint-postgres")
    found = connection.execute("SELECT max(v) AS v FROM checkpoint_migrations").fetchone()["v"]
    expected = len(saver.MIGRATIONS) - 1
    if found is None or found < expected:
        raise SourceError(
            f"the tables have version {found}, the installed langgraph-checkpoint-postgres reads version {expected}: "
            "install the one that wrote them, or let its setup() migrate them first"
        )


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


def _without_password(url: str) -> str:
    """Return a URL for a message."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
