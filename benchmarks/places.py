"""Stores that are compared by the bytes that they take: the same workload on each of them, in turn."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import stored
from benchmarks.measure import seconds_of
from benchmarks.report import print_table
from benchmarks.workloads.workload import Call, Workload

_OPENINGS = 5
_LOADS = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A store under measurement.

    Attributes:
        name: what the table calls it.
        opened: opens the engine's store on it.
        size: returns its bytes.
        holdfast: its folder, if it is a store of Holdfast.
        environment: variables that are set while it is used.

    """

    name: str
    opened: Callable[[], AbstractAsyncContextManager[Any]]
    size: Callable[[], int]
    holdfast: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Figures:
    """What was measured of a place.

    Attributes:
        seconds: the time of each piece.
        cpu: the CPU time of this process in each piece.
        bytes_open: what the store takes before it is closed.
        bytes_closed: what it takes after that.
        cold: the seconds of the first load after it was opened.
        warm: those of a later one.

    """

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    bytes_open: int = 0
    bytes_closed: int = 0
    cold: float = 0.0
    warm: float = 0.0


def on_holdfast(folder: Path, opened: Callable[[str], AbstractAsyncContextManager[Any]]) -> list[Place]:
    """Return embedded stores of Holdfast: one with deltas, and one without.

    Args:
        folder: where their folders are made.
        opened: opens the engine's store on a target.

    """

    def embedded(name: str, **environment: str) -> Place:
        at = folder / name.replace(" ", "-")
        return Place(name, lambda: opened(at.as_uri()), lambda: stored.in_folder(at), at, environment)

    return [embedded("Holdfast with deltas", HOLDFAST_DELTAS="true"), embedded("Holdfast", HOLDFAST_DELTAS="false")]


async def compare(title: str, workload: Workload, places: Sequence[Place], beside: str) -> None:
    """Measure a workload on empty stores, and print a table.

    Args:
        title: what the workload is.
        workload: the workload.
        places: the stores.
        beside: the store that times are compared with.

    """
    content = workload.content_bytes
    found = await _measured(workload, places)
    print(f"\n{title}: {workload.states} saves, {content / 1e3:.0f} kB of content, one caller, Holdfast embedded\n")
    columns = [
        "",
        "bytes/content",
        "with log",
        f"time of saves, of {beside}'s",
        "CPU of saves, ms",
        "cold load, ms",
        "warm",
    ]
    print_table(columns, [[place.name, *_cells(found[place.name], content, found[beside])] for place in places])
    for place in places:
        if place.holdfast:
            objects = stored.objects(place.holdfast)
            kinds = ", ".join(f"{kind} {size / content:.2f}" for kind, size in objects.sizes.most_common())
            print(f"\n{place.name}: {objects.count} objects, bytes/content: {kinds}")


async def _measured(workload: Workload, places: Sequence[Place]) -> dict[str, Figures]:
    found = {place.name: Figures() for place in places}
    async with AsyncExitStack() as stack:
        opened = {}
        for place in places:
            opened[place.name] = await stack.enter_async_context(place.opened())
        for piece in workload.pieces:
            for place in places:
                figures = found[place.name]
                # An embedded store is opened by the first call.
                with _environment(place.environment):
                    before = time.process_time()
                    figures.seconds.append(await seconds_of(_all(piece, opened[place.name])))
                    figures.cpu.append(time.process_time() - before)
        for place in places:
            found[place.name].bytes_open = place.size()
    for place in places:
        found[place.name].bytes_closed = place.size()
    cold: dict[str, list[float]] = {place.name: [] for place in places}
    warm: dict[str, list[float]] = {place.name: [] for place in places}
    for _ in range(_OPENINGS):
        for place in places:
            with _environment(place.environment):
                async with place.opened() as store:
                    cold[place.name].append(await seconds_of(workload.load(store)))
                    warm[place.name] += [await seconds_of(workload.load(store)) for _ in range(_LOADS)]
    for name, figures in found.items():
        figures.cold, figures.warm = statistics.median(cold[name]), statistics.median(warm[name])
    return found


async def _all(piece: Sequence[Call], store: Any) -> None:
    for call in piece:
        await call(store)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ |= variables
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def _cells(figures: Figures, content: int, theirs: Figures) -> list[str]:
    return [
        f"{figures.bytes_closed / content:.2f}",
        f"{figures.bytes_open / content:.2f}",
        f"{sum(figures.seconds) / sum(theirs.seconds):.2f}",
        f"{sum(figures.cpu) * 1e3:.0f}",
        f"{figures.cold * 1e3:.2f}",
        f"{figures.warm * 1e3:.2f}",
    ]
