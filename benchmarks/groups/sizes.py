"""The bytes of a step: what a store takes for the states that engines save, and the time of saves and loads."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks import places, postgres, savers, stored
from benchmarks.places import Place
from benchmarks.postgres import Postgres
from benchmarks.setting import POSTGRES, SQLITE, Setting
from benchmarks.workloads import langgraph, pydantic_ai
from benchmarks.workloads.workload import Workload

# ADK and CrewAI exclude each other, so that ADK has an environment of its own.
_ADK_PYTHON = Path(".venv/adk/bin/python")

_QUICK: dict[str, Callable[[], Awaitable[Workload]]] = {
    "LangGraph, chat of 50 turns": lambda: langgraph.chat(50),
    "LangGraph, states of random bytes": langgraph.random_bytes,
}
_ALL = _QUICK | {
    "LangGraph, chat of 200 turns": lambda: langgraph.chat(200),
    "LangGraph, agent with results of 20 kB": langgraph.agent,
}


async def run(setting: Setting) -> None:
    """Measure and print every workload."""
    for number, (title, made) in enumerate((_QUICK if setting.is_quick else _ALL).items()):
        folder = setting.folder / f"bytes-{number}"
        await places.compare(title, await made(), _of_langgraph(folder, setting.postgres), SQLITE)
    if setting.is_quick:
        return
    await pydantic_ai.compare(setting.folder / "bytes-pydantic-ai")
    await asyncio.to_thread(_run_adk, setting.folder / "bytes-adk")


def _run_adk(folder: Path) -> None:
    if not _ADK_PYTHON.exists():
        print("\nskipped Google ADK: make .venv/adk-ready")
        return
    subprocess.run([str(_ADK_PYTHON), "-m", "benchmarks.workloads.adk", str(folder)], check=True)


def _of_langgraph(folder: Path, server: Postgres | None) -> list[Place]:
    """Return Holdfast and LangGraph's own savers, all of them empty."""
    sqlite = folder / "sqlite"
    sqlite.mkdir(parents=True)
    found = places.on_holdfast(folder, savers.holdfast)
    found.append(Place(SQLITE, lambda: savers.sqlite(sqlite), lambda: stored.in_folder(sqlite)))
    if server:
        database = server.create_database()
        found.append(Place(POSTGRES, lambda: savers.postgres(database), lambda: postgres.stored_bytes(database)))
    return found
