"""The time to resume: in a new process, from opening a saver to the loaded newest state."""

import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint

from benchmarks import servers
from benchmarks.groups.small_s3 import CLIENTS
from benchmarks.report import print_table
from benchmarks.resumer import SIZES, config, opened
from benchmarks.setting import EMBEDDED, POSTGRES, REMOTE, SQLITE, Setting


async def run(setting: Setting) -> None:
    """Measure and print it."""
    stores = setting.folder / "resume"
    stores.mkdir()
    with ExitStack() as stack:
        remote, _ = stack.enter_context(servers.holdfast((stores / "remote").as_uri()))
        places = {
            EMBEDDED: ("holdfast", (stores / "embedded").as_uri()),
            REMOTE: ("holdfast", remote),
            SQLITE: ("sqlite", str(stores)),
        }
        if setting.postgres:
            places[POSTGRES] = ("postgres", setting.postgres.url)
        if setting.s3:
            for name in CLIENTS:
                store = f"s3://{setting.s3.bucket}/resume-{name}"
                target, _ = stack.enter_context(servers.holdfast(store, s3_client=name))
                places[f"Holdfast on S3, {name}"] = ("holdfast", target)
        sizes = [name for name in SIZES if not (setting.is_quick and name == "100 MB")]
        for place in places.values():
            await _fill(*place, sizes)
        taken: dict[tuple[str, str], list[float]] = {(name, size): [] for name in places for size in sizes}
        for _ in range(setting.effort.rounds):
            for (name, size), each in taken.items():
                each.append(_milliseconds(*places[name], size))
    print("\ntime to resume, milliseconds from opening LangGraph's saver in a new process to the newest state\n")
    rows = [[name, *(f"{statistics.median(taken[name, size]):.1f}" for size in sizes)] for name in places]
    print_table(["", *sizes], rows)


async def _fill(kind: str, location: str, sizes: list[str]) -> None:
    """Save a state of each size, each in a thread of its own."""
    async with opened(kind, location) as saver:
        for name in sizes:
            versions: Any = {"state": f"{1:032}.0"}
            state = {"state": os.urandom(SIZES[name])}
            checkpoint: Any = {**empty_checkpoint(), "channel_values": state, "channel_versions": versions}
            await saver.aput(config(name), checkpoint, {"source": "loop", "step": 1}, versions)


def _milliseconds(kind: str, location: str, name: str) -> float:
    command = [sys.executable, "-m", "benchmarks.resumer", kind, location, name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
