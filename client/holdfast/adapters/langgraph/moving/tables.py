"""What savers keep and do not return: the threads, the ids of their checkpoints, the paths of tasks.

It is read from the tables of the savers of LangGraph itself. Other savers are read through their methods alone.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from sys import modules
from typing import Any, Protocol, TypeAlias

from holdfast.adapters.langgraph.names import Place
from holdfast.adapters.threaded import in_thread_to_end

_PAGE = 500
_Rows: TypeAlias = Sequence[Sequence[Any]]


class Tables(Protocol):
    """The tables of a saver."""

    def threads(self) -> AsyncIterator[Any]:
        """Iterate over the ids of the threads, which may be of any type."""

    async def checkpoints(self, thread_id: str) -> _Rows:
        """Return namespace, id and parent's id of each checkpoint of a thread."""

    async def writes(self, place: Place, checkpoint_id: str) -> Sequence[tuple[str, int, str]]:
        """Return task, position and path of each write of a checkpoint."""


def tables_of(saver: Any) -> Tables | None:
    """Return the tables of a saver of LangGraph itself; None for any other saver."""
    if _is(saver, "langgraph.checkpoint.memory", "InMemorySaver"):
        return MemoryTables(saver)
    for module, name, kind in (
        ("langgraph.checkpoint.sqlite", "SqliteSaver", SqliteTables),
        ("langgraph.checkpoint.sqlite.aio", "AsyncSqliteSaver", AsyncSqliteTables),
        ("langgraph.checkpoint.postgres", "PostgresSaver", PostgresTables),
        ("langgraph.checkpoint.postgres.aio", "AsyncPostgresSaver", AsyncPostgresTables),
    ):
        if _is(saver, module, name):
            return kind(saver)
    return None


def _is(saver: Any, module: str, name: str) -> bool:
    # A saver of a package that the program has not imported is none of them.
    return module in modules and isinstance(saver, getattr(modules[module], name))


class MemoryTables:
    """The tables of LangGraph's saver in memory.

    Args:
        saver: the saver.

    """

    def __init__(self, saver: Any) -> None:
        self._saver = saver

    async def threads(self) -> AsyncIterator[Any]:
        """Iterate over the ids of the threads."""
        for thread_id in list(self._saver.storage):
            if any(self._saver.storage[thread_id].values()):
                yield thread_id

    async def checkpoints(self, thread_id: str) -> _Rows:
        """Return namespace, id and parent's id of each checkpoint of a thread."""
        if thread_id not in self._saver.storage:
            return []
        namespaces = self._saver.storage[thread_id]
        return [(ns, each, row[2]) for ns, found in namespaces.items() for each, row in found.items()]

    async def writes(self, place: Place, checkpoint_id: str) -> Sequence[tuple[str, int, str]]:
        """Return task, position and path of each write of a checkpoint."""
        found = self._saver.writes.get((*place, checkpoint_id), {})
        return [(task_id, index, row[3]) for (task_id, index), row in found.items()]


class _SqlTables(ABC):
    """The tables of a saver in a database.

    Args:
        saver: the saver.

    """

    _parameter: str
    _writes: str

    def __init__(self, saver: Any) -> None:
        self._saver = saver

    async def threads(self) -> AsyncIterator[Any]:
        """Iterate over the ids of the threads."""
        where = ""
        bound: list[Any] = []
        while True:
            statement = f"SELECT DISTINCT thread_id FROM checkpoints {where} ORDER BY thread_id LIMIT {_PAGE}"  # noqa: S608
            rows = await self._rows(statement, bound)
            for (thread_id,) in rows:
                yield thread_id
            if len(rows) < _PAGE:
                return
            parameter, value = self._parameter_of(rows[-1][0])
            where, bound = f"WHERE thread_id > {parameter}", [value]

    def _parameter_of(self, thread_id: Any) -> tuple[str, Any]:
        """Return how a statement has an id that was read: a parameter, and what is bound to it."""
        return self._parameter, thread_id

    async def checkpoints(self, thread_id: str) -> _Rows:
        """Return namespace, id and parent's id of each checkpoint of a thread."""
        statement = "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id FROM checkpoints WHERE thread_id = "
        return await self._rows(statement + self._parameter, [thread_id])

    async def writes(self, place: Place, checkpoint_id: str) -> Sequence[tuple[str, int, str]]:
        """Return task, position and path of each write of a checkpoint."""
        columns = ("thread_id", "checkpoint_ns", "checkpoint_id")
        where = " AND ".join(f"{column} = {self._parameter}" for column in columns)
        path = "task_path" if await self._has_path() else "''"
        statement = f"SELECT task_id, idx, {path} FROM {self._writes} WHERE {where}"  # noqa: S608
        rows = await self._rows(statement, [*place, checkpoint_id])
        return [(task_id, index, task_path or "") for task_id, index, task_path in rows]

    @abstractmethod
    async def _rows(self, statement: str, values: Sequence[Any]) -> _Rows:
        """Return the rows of a statement."""

    async def _has_path(self) -> bool:
        return True


class SqliteTables(_SqlTables):
    """The tables of `SqliteSaver`."""

    _parameter = "?"
    _writes = "writes"

    def _parameter_of(self, thread_id: Any) -> tuple[str, Any]:
        if isinstance(thread_id, str):
            # Text that is not UTF-8 cannot be bound as text.
            return "CAST(? AS TEXT)", thread_id.encode(errors="surrogateescape")
        return "?", thread_id

    async def _rows(self, statement: str, values: Sequence[Any]) -> _Rows:
        def rows() -> _Rows:
            with self._saver.cursor(transaction=False) as cursor:
                found: _Rows = cursor.execute(statement, values).fetchall()
            return found

        return await in_thread_to_end(rows)

    async def _has_path(self) -> bool:
        # A database of an older version has no such column.
        return bool(await self._rows("SELECT 1 FROM pragma_table_info('writes') WHERE name = 'task_path'", ()))


class AsyncSqliteTables(SqliteTables):
    """The tables of `AsyncSqliteSaver`."""

    async def _rows(self, statement: str, values: Sequence[Any]) -> _Rows:
        await self._saver.setup()
        async with self._saver.lock, self._saver.conn.execute(statement, values) as cursor:
            found: _Rows = await cursor.fetchall()
        return found


class PostgresTables(_SqlTables):
    """The tables of `PostgresSaver`, with a connection or a pool."""

    _parameter = "%s"
    _writes = "checkpoint_writes"

    async def _rows(self, statement: str, values: Sequence[Any]) -> _Rows:
        def rows() -> _Rows:
            with self._saver.lock, ExitStack() as stack:
                connection = self._saver.conn
                if hasattr(connection, "getconn"):
                    connection = stack.enter_context(connection.connection())
                with connection.cursor(row_factory=_tuples) as cursor:
                    found: _Rows = cursor.execute(statement, values or None).fetchall()
            return found

        return await in_thread_to_end(rows)


class AsyncPostgresTables(PostgresTables):
    """The tables of `AsyncPostgresSaver`, with a connection or a pool."""

    async def _rows(self, statement: str, values: Sequence[Any]) -> _Rows:
        async with self._saver.lock, AsyncExitStack() as stack:
            connection = self._saver.conn
            if hasattr(connection, "getconn"):
                connection = await stack.enter_async_context(connection.connection())
            async with connection.cursor(row_factory=_tuples) as cursor:
                found: _Rows = await (await cursor.execute(statement, values or None)).fetchall()
        return found


def _tuples(_cursor: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    return tuple
