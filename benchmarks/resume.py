"""The time to resume: in a new process, from opening a saver to the loaded newest state.

`python -m benchmarks.resume KIND LOCATION THREAD` is that process. It prints the seconds, without its own imports.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint

from benchmarks import savers
from benchmarks.savers import Saver

SIZES = {"1 KB": 1_000, "1 MB": 1_000_000, "100 MB": 100_000_000}
_REPEATS = 5


def opened(kind: str, location: str) -> AbstractAsyncContextManager[Saver]:
    """Return a saver that is not open yet.

    Args:
        kind: "holdfast", "sqlite" or "postgres".
        location: the target, folder or URL.

    """
    if kind == "holdfast":
        return savers.holdfast(location)
    return savers.sqlite(Path(location)) if kind == "sqlite" else savers.postgres(location)


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


async def fill(kind: str, location: str) -> None:
    """Save a state of each size, each in a thread of its own."""
    async with opened(kind, location) as saver:
        for name, size in SIZES.items():
            versions: Any = {"state": f"{1:032}.0"}
            state = {"state": os.urandom(size)}
            checkpoint: Any = {**empty_checkpoint(), "channel_values": state, "channel_versions": versions}
            await saver.aput(_config(name), checkpoint, {"source": "loop", "step": 1}, versions)


def milliseconds(kind: str, location: str, name: str) -> float:
    """Return the median of several new processes."""
    command = [sys.executable, "-m", "benchmarks.resume", kind, location, name]
    return statistics.median(
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(_REPEATS)
    )


async def _resume(kind: str, location: str, name: str) -> float:
    saver = opened(kind, location)
    started = time.perf_counter()
    async with saver as is_open:
        found = await is_open.aget_tuple(_config(name))
        elapsed = time.perf_counter() - started
    assert found is not None
    assert len(found.checkpoint["channel_values"]["state"]) == SIZES[name]
    return elapsed * 1000


if __name__ == "__main__":
    print(asyncio.run(_resume(*sys.argv[1:])))
