"""A new process that resumes: `python -m benchmarks.resumer KIND LOCATION THREAD`.

It prints the milliseconds from opening a saver to the loaded newest state. Its imports, which are the same for each
kind, are not counted. Those that a saver makes when it is opened are.
"""

import asyncio
import sys
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from benchmarks import savers
from benchmarks.savers import Saver

SIZES = {"1 KB": 1_000, "1 MB": 1_000_000, "100 MB": 100_000_000}


def opened(kind: str, location: str) -> AbstractAsyncContextManager[Saver]:
    """Return a saver that is not open yet.

    Args:
        kind: "holdfast", "sqlite" or "postgres".
        location: the target, folder or URL.

    """
    if kind == "holdfast":
        return savers.holdfast(location)
    return savers.sqlite(Path(location)) if kind == "sqlite" else savers.postgres(location)


def config(thread: str) -> Any:
    """Return the configuration of a thread."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


async def _resume(kind: str, location: str, name: str) -> float:
    saver = opened(kind, location)
    started = time.perf_counter()
    async with saver as is_open:
        found = await is_open.aget_tuple(config(name))
        elapsed = time.perf_counter() - started
    assert found is not None
    assert len(found.checkpoint["channel_values"]["state"]) == SIZES[name]
    return elapsed * 1000


if __name__ == "__main__":
    print(asyncio.run(_resume(*sys.argv[1:])))
