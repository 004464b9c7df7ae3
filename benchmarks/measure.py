"""Measurements: operations per second of concurrent callers, the time of one call, peak memory."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

SECONDS = 3.0
WARM_UP_SECONDS = 0.5

Operation = Callable[[int, int], Awaitable[object]]


async def per_second(operation: Operation, callers: int) -> float:
    """Return how many operations all callers finish in a second.

    Args:
        operation: what a caller does; it receives the caller's number and a count from 0.
        callers: how many run concurrently.

    """
    counts = [0] * callers
    stop = asyncio.Event()

    async def call(number: int) -> None:
        while not stop.is_set():
            await operation(number, counts[number])
            counts[number] += 1
            # An operation that never waits would block the event loop.
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(call(number))
        await asyncio.sleep(WARM_UP_SECONDS)
        before, started = sum(counts), time.perf_counter()
        await asyncio.sleep(SECONDS)
        done, seconds = sum(counts) - before, time.perf_counter() - started
        stop.set()
    return done / seconds


async def seconds_of(operation: Awaitable[object]) -> float:
    """Return how many seconds an operation takes."""
    started = time.perf_counter()
    await operation
    return time.perf_counter() - started


def reset_peak() -> None:
    """Reset the peak memory (VmHWM) of this process."""
    Path("/proc/self/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
