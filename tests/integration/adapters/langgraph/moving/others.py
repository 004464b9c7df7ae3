"""Open the savers of LangGraph that tests move threads from and to."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver


@dataclass(frozen=True)
class Kind:
    """A kind of saver.

    Attributes:
        opened: opens one, whose data is at a place.
        is_asynchronous: whether only its asynchronous methods work.

    """

    opened: Callable[[Any], AbstractAsyncContextManager[Any]]
    is_asynchronous: bool = False


class Foreign(BaseCheckpointSaver[Any]):
    """A saver of somebody else: only the methods of the contract, and none of them asynchronous."""

    def __init__(self) -> None:
        super().__init__()
        self._saver = InMemorySaver()

    def __copy__(self) -> "Foreign":
        copied = Foreign()
        copied._saver = self._saver
        return copied

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "serde" and hasattr(self, "_saver"):
            # One saver, with the serializer of its latest caller.
            self._saver = _clone(self._saver, value)

    def get_tuple(self, config: Any) -> Any:
        return self._saver.get_tuple(config)

    def list(self, config: Any, **options: Any) -> Any:
        return self._saver.list(config, **options)

    def put(self, *arguments: Any) -> Any:
        return self._saver.put(*arguments)

    def put_writes(self, *arguments: Any) -> None:
        self._saver.put_writes(*arguments)

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self._saver.get_next_version(current, channel)


def _clone(saver: InMemorySaver, serde: Any) -> InMemorySaver:
    cloned = InMemorySaver(serde=serde)
    cloned.storage, cloned.writes, cloned.blobs = saver.storage, saver.writes, saver.blobs
    return cloned


@asynccontextmanager
async def _memory(_place: Any) -> AsyncIterator[Any]:
    yield InMemorySaver()


@asynccontextmanager
async def _foreign(_place: Any) -> AsyncIterator[Any]:
    yield Foreign()


@asynccontextmanager
async def _sqlite(place: Any) -> AsyncIterator[Any]:
    with closing(sqlite3.connect(place, check_same_thread=False)) as connection:
        yield SqliteSaver(connection)


@asynccontextmanager
async def _postgres(url: str) -> AsyncIterator[Any]:
    with PostgresSaver.from_conn_string(url) as saver:
        saver.setup()
        yield saver


@asynccontextmanager
async def _async_postgres(url: str) -> AsyncIterator[Any]:
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        await saver.setup()
        yield saver


KINDS = {
    "memory": Kind(_memory),
    "foreign": Kind(_foreign),
    "sqlite": Kind(_sqlite),
    "sqlite-async": Kind(AsyncSqliteSaver.from_conn_string, is_asynchronous=True),
    "postgres": Kind(_postgres),
    "postgres-async": Kind(_async_postgres, is_asynchronous=True),
}
