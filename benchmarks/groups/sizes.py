"""The bytes of a step: what a store takes for the states that engines save, and the time of saves and loads.

Each piece of a workload is saved on one store after the other, so that other work on the machine slows all of them.
"""

import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

from holdfast_server.config import Config

from benchmarks import savers, stored
from benchmarks.measure import seconds_of
from benchmarks.postgres import Postgres
from benchmarks.report import print_table
from benchmarks.savers import Saver
from benchmarks.setting import POSTGRES, SQLITE, Setting
from benchmarks.workloads import langgraph
from benchmarks.workloads.langgraph import Workload

# The setting that turns deltas on and off.
DELTAS = "deltas"
_OPENINGS = 5
_LOADS = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A store under measurement.

    Attributes:
        name: what the table calls it.
        opened: opens a saver on it.
        size: returns its bytes.
        holdfast: its folder, if it is a store of Holdfast.
        environment: variables that are set while it is opened.

    """

    name: str
    opened: Callable[[], AbstractAsyncContextManager[Saver]]
    size: Callable[[], int]
    holdfast: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Figures:
    """What was measured of a place: the time and the CPU time of this process for each piece, bytes, and loads."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    bytes_open: int = 0
    bytes_closed: int = 0
    cold: float = 0.0
    warm: float = 0.0


async def workloads(*, is_quick: bool) -> dict[str, Workload]:
    """Return the workloads by their names."""
    found = {
        "LangGraph, chat of 50 turns": await langgraph.chat(50),
        "20 states of random bytes": langgraph.random_bytes(),
    }
    if not is_quick:
        found["LangGraph, chat of 200 turns"] = await langgraph.chat(200)
        found["LangGraph, agent with results of 20 kB"] = await langgraph.agent()
    return found


def places(folder: Path, server: Postgres | None) -> list[Place]:
    """Return the stores to measure, all of them empty.

    Args:
        folder: an empty folder for their files.
        server: a server of Postgres; None for none.

    """

    def embedded(name: str, **environment: str) -> Place:
        at = folder / name.replace(" ", "-")
        return Place(name, lambda: savers.holdfast(at.as_uri()), lambda: stored.in_folder(at), at, environment)

    found = [embedded("Holdfast")]
    if any(each.name == DELTAS for each in fields(Config)):
        found.append(embedded("Holdfast without deltas", **{f"HOLDFAST_{DELTAS.upper()}": "off"}))
    sqlite = folder / "sqlite"
    sqlite.mkdir(parents=True)
    found.append(Place(SQLITE, lambda: savers.sqlite(sqlite), lambda: stored.in_folder(sqlite)))
    if server:
        database = server.create_database()
        found.append(Place(POSTGRES, lambda: savers.postgres(database), lambda: stored.in_postgres(database)))
    return found


async def measured(workload: Workload, stores: Sequence[Place]) -> dict[str, Figures]:
    """Save a workload on each store, then load its newest state, and return what was measured by the stores' names."""
    found = {place.name: Figures() for place in stores}
    async with AsyncExitStack() as stack:
        opened = {}
        for place in stores:
            with _environment(place.environment):
                opened[place.name] = await stack.enter_async_context(place.opened())
        for piece in workload.pieces:
            for name, saver in opened.items():
                before = time.process_time()
                found[name].seconds.append(await seconds_of(_all(call(saver) for call in piece)))
                found[name].cpu.append(time.process_time() - before)
        for place in stores:
            found[place.name].bytes_open = place.size()
    for place in stores:
        found[place.name].bytes_closed = place.size()
    cold: dict[str, list[float]] = {place.name: [] for place in stores}
    warm: dict[str, list[float]] = {place.name: [] for place in stores}
    for _ in range(_OPENINGS):
        for place in stores:
            with _environment(place.environment):
                async with place.opened() as saver:
                    cold[place.name].append(await seconds_of(langgraph.load(saver)))
                    warm[place.name] += [await seconds_of(langgraph.load(saver)) for _ in range(_LOADS)]
    for name, figures in found.items():
        figures.cold, figures.warm = statistics.median(cold[name]), statistics.median(warm[name])
    return found


async def _all(calls: Iterator[Awaitable[object]]) -> None:
    for call in calls:
        await call


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ |= variables
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


async def run(setting: Setting) -> None:
    """Measure and print every workload."""
    for number, (name, workload) in enumerate((await workloads(is_quick=setting.is_quick)).items()):
        stores = places(setting.folder / f"bytes-{number}", setting.postgres)
        found = await measured(workload, stores)
        content = workload.content_bytes
        print(
            f"\n{name}: {workload.checkpoints} checkpoints, {content / 1e3:.0f} kB of content, one caller, embedded\n"
        )
        columns = [
            "",
            "bytes/content",
            "with log",
            f"time of saves, of {SQLITE}'s",
            "CPU of saves, ms",
            "cold load, ms",
            "warm, ms",
        ]
        print_table(columns, [[place.name, *_cells(found[place.name], content, found[SQLITE])] for place in stores])
        for place in stores:
            if place.holdfast:
                objects = stored.objects(place.holdfast)
                kinds = ", ".join(f"{kind} {size / content:.2f}" for kind, size in objects.sizes.most_common())
                print(f"\n{place.name}: {objects.count} objects, bytes/content: {kinds}")


def _cells(figures: Figures, content: int, theirs: Figures) -> list[str]:
    return [
        f"{figures.bytes_closed / content:.2f}",
        f"{figures.bytes_open / content:.2f}",
        f"{sum(figures.seconds) / sum(theirs.seconds):.2f}",
        f"{sum(figures.cpu) * 1e3:.0f}",
        f"{figures.cold * 1e3:.2f}",
        f"{figures.warm * 1e3:.2f}",
    ]
