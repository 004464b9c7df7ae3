"""LangGraph's own savers, and Holdfast's.

Tests record workloads without the packages of LangGraph's savers, so these are imported where they are used.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

from holdfast.adapters.langgraph import HoldfastSaver
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

Saver: TypeAlias = BaseCheckpointSaver[Any]


@asynccontextmanager
async def holdfast(target: str) -> AsyncIterator[Saver]:
    """Open Holdfast's saver."""
    async with HoldfastSaver.from_target(target, namespace="bench") as saver:
        yield saver


@asynccontextmanager
async def memory() -> AsyncIterator[Saver]:
    """Open the saver in memory. Its time is that of LangGraph itself."""
    yield InMemorySaver()


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Saver]:
    """Open the saver on sqlite, with a sync at every commit."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver  # noqa: PLC0415

    async with AsyncSqliteSaver.from_conn_string(str(folder / "bench.sqlite")) as saver:
        await saver.setup()
        await saver.conn.execute("PRAGMA synchronous=FULL")
        yield saver


@asynccontextmanager
async def postgres(url: str) -> AsyncIterator[Saver]:
    """Open the saver on Postgres, with a pool of connections."""
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # noqa: PLC0415
    from psycopg_pool import AsyncConnectionPool  # noqa: PLC0415

    options = {"autocommit": True, "prepare_threshold": 0}
    async with AsyncExitStack() as stack:
        pool: Any = AsyncConnectionPool(url, min_size=4, max_size=32, kwargs=options, open=False)
        await stack.enter_async_context(pool)
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        yield saver
