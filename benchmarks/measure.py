"""Measurements: operations per second of concurrent callers, the time of one call, CPU time, peak memory.

What is compared is measured in turn, round after round, so that other work on the machine slows all of it.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.servers import children

Operation = Callable[[int], Awaitable[object]]

_WARM_UP_CALLERS = 8
_WARM_UP_SECONDS = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Subject:
    """A store under measurement.

    Attributes:
        save: saves once. It receives the caller's number.
        load: loads what the caller saved last.
        servers: the processes that serve it, without their children.

    """

    save: Operation
    load: Operation
    servers: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        callers: the numbers of concurrent callers.
        rounds: how often each subject has its turn.
        seconds: how long a turn takes.

    """

    callers: Sequence[int] = (1, 32, 256)
    rounds: int = 3
    seconds: float = 1.0


@dataclass(slots=True)
class Figure:
    """What was measured of one operation of one subject.

    Attributes:
        rates: the operations per second of each round.
        operations: their number.
        caller_seconds: the CPU time of this process in them.
        server_seconds: the CPU time of the servers.

    """

    rates: list[float] = field(default_factory=list)
    operations: int = 0
    caller_seconds: float = 0.0
    server_seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rates)

    @property
    def caller_ms(self) -> float:
        """The milliseconds of CPU time that an operation takes from the caller."""
        return self.caller_seconds * 1e3 / self.operations

    @property
    def server_ms(self) -> float:
        """The milliseconds of CPU time that an operation takes from the servers."""
        return self.server_seconds * 1e3 / self.operations

    def of(self, other: "Figure") -> float:
        """Return the median of the ratios to another subject in the same rounds."""
        return statistics.median(ours / theirs for ours, theirs in zip(self.rates, other.rates, strict=True))


Figures = dict[tuple[str, int], dict[str, Figure]]


async def compare(subjects: Mapping[str, AbstractAsyncContextManager[Subject]], effort: Effort) -> Figures:
    """Measure subjects in turn. Return their figures by verb and number of callers, and by their names."""
    found: Figures = {}
    async with AsyncExitStack() as stack:
        opened = {name: await stack.enter_async_context(each) for name, each in subjects.items()}
        for callers in effort.callers:
            for verb in ("save", "load"):
                operations = {name: each.save if verb == "save" else each.load for name, each in opened.items()}
                for operation in operations.values():
                    await turn(operation, min(callers, _WARM_UP_CALLERS), _WARM_UP_SECONDS, (), Figure())
                figures = found[verb, callers] = {name: Figure() for name in opened}
                for _ in range(effort.rounds):
                    for name, subject in opened.items():
                        await turn(operations[name], callers, effort.seconds, subject.servers, figures[name])
    return found


async def turn(operation: Operation, callers: int, seconds: float, servers: Sequence[int], figure: Figure) -> None:
    """Let all callers begin operations for a while, and add what was measured until the last one ended."""
    done = 0

    async def call(number: int) -> None:
        nonlocal done
        while True:
            await operation(number)
            done += 1
            if time.perf_counter() > ends:
                return
            # An operation that never waits would block the event loop.
            await asyncio.sleep(0)

    served, used = sum(map(tree_cpu_seconds, servers)), time.process_time()
    started = time.perf_counter()
    ends = started + seconds
    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(call(number))
    figure.rates.append(done / (time.perf_counter() - started))
    figure.operations += done
    figure.caller_seconds += time.process_time() - used
    figure.server_seconds += sum(map(tree_cpu_seconds, servers)) - served


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
    return _cpu_seconds(pid, 2)


def tree_cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, of its children, and of those that have ended."""
    total = _cpu_seconds(pid, 4)
    for child in children(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            total += _cpu_seconds(child, 2)
    return total


def _cpu_seconds(pid: int, count: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 11 + count])) / _TICKS
