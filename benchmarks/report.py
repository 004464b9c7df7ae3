"""The tables that the benchmarks print: Markdown, for the page on performance."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.measure import Figure, Figures

_PACKAGES = (
    "holdfast-client",
    "holdfast-server",
    "grpcio",
    "uvloop",
    "aioboto3",
    "obstore",
    "langgraph",
    "langgraph-checkpoint-sqlite",
    "langgraph-checkpoint-postgres",
)


def header(folder: Path) -> str:
    """Return the machine, the date and the versions."""
    model = next((line.partition(":")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores ({model.strip()}), {memory / 2**20:.0f} GiB, "
        f"load {os.getloadavg()[0]:.1f}, files on {_file_system(folder)}, callers on the same machine\n"
        f"Python {sys.version.split()[0]}, Linux {platform.release()}, {versions}"
    )


def print_figures(title: str, figures: Figures, beside: Sequence[str]) -> None:
    """Print a table for each verb and number of callers.

    Args:
        title: what was measured.
        figures: the figures.
        beside: the subjects that ratios are printed to.

    """
    for (verb, callers), found in figures.items():
        print(f"\n{title}, {verb}, {callers} {'caller' if callers == 1 else 'callers'}\n")
        columns = ["", "per second", *(f"of {name}" for name in beside), "CPU of caller, ms", "CPU of server, ms"]
        rows = [[name, *_cells(figure, found, beside)] for name, figure in found.items()]
        print_table(columns, rows)


def _cells(figure: Figure, found: Mapping[str, Figure], beside: Sequence[str]) -> list[str]:
    ratios = [f"{figure.of(found[name]):.2f}" for name in beside]
    return [f"{figure.per_second:.0f}", *ratios, f"{figure.caller_ms:.3f}", f"{figure.server_ms:.3f}"]


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with aligned columns."""
    widths = [max(len(row[number]) for row in (columns, *rows)) for number in range(len(columns))]
    for row in (columns, ["-" * max(3, width) for width in widths], *rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |", flush=True)


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _file_system(folder: Path) -> str:
    """Return the kind of the file system of a folder, and its device."""
    mounts = [line.split()[:3] for line in _lines("/proc/mounts")]
    device, _, kind = max(
        (mount for mount in mounts if folder.resolve().is_relative_to(mount[1])), key=lambda mount: len(mount[1])
    )
    return f"{kind} ({device})"
