"""What one greedy namespace does to the calls of another one, with turns and without."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import holdfast

from benchmarks import servers
from benchmarks.report import print_table
from benchmarks.setting import Setting

_FAIR_CALLS = (0, 2, 4, 8, 16)
_DATA = b"x" * 2048
# The polite namespace saves one after the other, with a pause, so that it never waits for itself.
_PAUSE_SECONDS = 0.005
# The greedy one gets lower priority from the system, so that it takes no time from the server or the polite caller.
_NICE = 10


async def run(setting: Setting) -> None:
    """Measure and print the times of a polite caller."""
    rows = []
    for fair_calls in _FAIR_CALLS:
        store = (setting.folder / f"fairness-{fair_calls}").as_uri()
        environment = {"HOLDFAST_FAIR_CALLS": str(fair_calls)}
        with servers.holdfast(store, environment=environment) as (target, _):
            alone, beside, greedy = await _measure(target, setting.effort.rounds, setting.effort.seconds)
        rows.append(
            [
                str(fair_calls) if fair_calls else "no turns",
                f"{_part(alone, 0.5):.1f}",
                f"{_part(beside, 0.5):.1f}",
                f"{_part(beside, 0.5) / _part(alone, 0.5):.2f}",
                f"{_part(alone, 0.99):.1f}",
                f"{_part(beside, 0.99):.1f}",
                f"{_part(beside, 0.99) / _part(alone, 0.99):.2f}",
                f"{greedy:.0f}",
            ]
        )
    print("\nSaves of a polite namespace beside a greedy one with 256 callers, on file://, in ms\n")
    columns = ["fair_calls", "p50 alone", "beside", "ratio", "p99 alone", "beside", "ratio", "greedy saves/s"]
    print_table(columns, rows)


async def _measure(target: str, rounds: int, seconds: float) -> tuple[list[float], list[float], float]:
    """Return the times of saves alone and beside a greedy namespace, and the saves per second of that one."""
    alone: list[float] = []
    beside: list[float] = []
    async with holdfast.AsyncClient(target) as client:
        await _save_for(client, 0.2)
        with _greedy(target) as process:
            for _ in range(rounds):
                os.kill(process.pid, signal.SIGSTOP)
                # Its calls in flight end first.
                await asyncio.sleep(0.3)
                alone += await _save_for(client, seconds)
                os.kill(process.pid, signal.SIGCONT)
                await asyncio.sleep(0.3)
                before, started = await _revisions(client), time.perf_counter()
                beside += await _save_for(client, seconds)
                saved, took = await _revisions(client) - before, time.perf_counter() - started
    return alone, beside, saved / took


async def _save_for(client: holdfast.AsyncClient, seconds: float) -> list[float]:
    """Save for a while. Return the milliseconds that each save took."""
    found = []
    ends = time.perf_counter() + seconds
    while (started := time.perf_counter()) < ends:
        await client.save("polite", "w", _DATA, format=holdfast.Format("bench", 1))
        found.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(_PAUSE_SECONDS)
    return found


async def _revisions(client: holdfast.AsyncClient) -> int:
    """Return how often the greedy namespace has saved."""
    return sum([each.head_revision async for each in client.list_workflows("greedy", page_size=1000)])


def _part(times: list[float], part: float) -> float:
    return sorted(times)[int(len(times) * part)]


@contextmanager
def _greedy(target: str) -> Iterator[subprocess.Popen[str]]:
    command = ["nice", "-n", str(_NICE), sys.executable, "-m", "benchmarks.greedy", target]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
