"""An event loop whose time is simulated, and processes that it can pause and kill.

Time jumps to the next due callback, so days pass in milliseconds and one seed gives one history. Every callback
belongs to the process in whose context it was made. The callbacks of a paused process wait until the pause is over, as
after SIGSTOP. Those of a dead process never run, not even its `finally`.
"""

import asyncio
import contextvars
import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Process:
    """A server process with its own clocks."""

    name: str
    skew: float
    dies_before: int = 0  # the step before which it dies; 0: never
    steps: int = 0  # how many of its callbacks have run
    is_dead: bool = False
    paused_until: float = 0.0
    held: deque = field(default_factory=deque)
    died: asyncio.Event = field(default_factory=asyncio.Event)


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class SimulatedLoop(asyncio.BaseEventLoop):
    """An event loop that runs callbacks in order of simulated time."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._abandoned: list[Any] = []

    def time(self) -> float:
        return self._now

    def pause(self, process: Process, seconds: float) -> None:
        process.paused_until = max(process.paused_until, self._now + seconds)
        self.call_at(process.paused_until, self._release, process, context=contextvars.Context())

    def kill(self, process: Process) -> None:
        process.is_dead = True
        process.died.set()

    def revive(self, processes: list[Process]) -> None:
        """Let paused callbacks run, so that they can be cancelled."""
        for process in processes:
            process.is_dead, process.paused_until, process.dies_before = False, 0.0, 0
            self._release(process)
        self._ready.extend(self._abandoned)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is the caller's
            future.set_exception(error)
        return future

    def _release(self, process: Process) -> None:
        if process.paused_until <= self._now:
            self._ready.extend(process.held)
            process.held.clear()

    def _run_once(self) -> None:
        if not self._ready:
            self._advance()
        while self._ready:
            handle = self._ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is None:
                handle._run()
            elif process.paused_until > self._now and not process.is_dead:
                process.held.append(handle)
            elif self._survives(process):
                handle._run()
            else:
                self._abandoned.append(handle)

    def _survives(self, process: Process) -> bool:
        """Return whether a process runs its next step, which is the code between two awaits."""
        process.steps += 1
        if process.steps == process.dies_before:
            self.kill(process)
        return not process.is_dead

    def _advance(self) -> None:
        while self._scheduled:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                self._now = max(self._now, handle._when)
                self._ready.append(handle)
                return
        raise RuntimeError("all tasks wait and no callback is due")

    def _process_events(self, event_list: Any) -> None:
        """Do nothing: there are no asynchronous generators to close."""

    def _write_to_self(self) -> None:
        """Do nothing: there are no other threads."""
