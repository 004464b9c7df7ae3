"""Memory and open files of a server over time, and a check that they do not grow."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from tests.support.servers import memory_mib

_MEMORY_SLACK_MIB = 24.0
# Open folders, connections to the store and connections to callers all have bounds.
_MOST_FILES = 400


@dataclass(frozen=True)
class Sample:
    memory_mib: float
    open_files: int


async def watch(pid: int, every_seconds: float, is_over: Callable[[], bool]) -> list[Sample]:
    """Sample a process until the time is up. Return the samples."""
    samples = []
    while not is_over():
        files = len(os.listdir(f"/proc/{pid}/fd"))
        samples.append(Sample(memory_mib(pid, "VmRSS"), files))
        await asyncio.sleep(every_seconds)
    return samples


def growth(samples: list[Sample]) -> list[str]:
    """Report growth between the second and the last third of the samples. In the first third, caches fill.

    The medians are compared: what a moment's calls hold comes and goes.
    """
    third = len(samples) // 3
    before = median(each.memory_mib for each in samples[third : 2 * third])
    after = median(each.memory_mib for each in samples[2 * third :])
    found = [f"memory grew from {before} to {after} MiB"] if after > before + _MEMORY_SLACK_MIB else []
    files = max(each.open_files for each in samples)
    return [*found, f"{files} files are open"] if files > _MOST_FILES else found
