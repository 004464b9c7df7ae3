"""Several server processes on one port: a parent starts them, replaces one that dies, and stops them.

The kernel distributes connections over the processes (SO_REUSEPORT). They share only the store, like replicas on
several machines.
"""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from holdfast_server.lifecycle import stop_requested
from holdfast_server.listen_address import reserved

_LOG = logging.getLogger("holdfast.server")
# A worker that lived for less time than this is replaced after a pause, which doubles each time.
_STABLE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0
# How long a worker may take to end after its drain before it is killed.
_KILL_SECONDS = 2.0


async def supervise(listen: str, commands: Sequence[Sequence[str]], *, drain_seconds: float) -> int:
    """Run workers until a signal stops them, then let them drain.

    Args:
        listen: host:port; port 0 takes a free one for all of them.
        commands: the command line of each worker, without its address.
        drain_seconds: how long a worker may drain.

    Returns:
        The exit code: 0 if every worker has drained; 1 if a worker failed before any had served, or had to be killed.

    Raises:
        OSError: the server cannot listen on the address.

    """
    with reserved(listen) as address:
        workers = _Workers(drain_seconds)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(workers.keep_one_running([*command, "--listen", address])) for command in commands
            ]
    return max(task.result() for task in tasks)


class _Workers:
    """The workers of one parent.

    Args:
        drain_seconds: how long a worker may drain.

    """

    def __init__(self, drain_seconds: float) -> None:
        self._drain_seconds = drain_seconds
        self._stop = stop_requested()
        self._any_has_served = False

    async def keep_one_running(self, arguments: Sequence[str]) -> int:
        """Keep a worker with that command line running until a signal stops it. Return the exit code."""
        pause_seconds = 0.0
        while True:
            started = time.monotonic()
            process = await self._start(arguments)
            if not await self._ends_before_stop(process):
                return await self._end(process)
            code, lived_seconds = process.returncode or 0, time.monotonic() - started
            if code > 0 and not self._any_has_served:
                # It has printed why. The supervisor of this process decides whether to retry.
                _LOG.error("a worker failed at its start", extra={"exit_code": code})
                self._stop.set()
                return 1
            is_stable = lived_seconds >= _STABLE_SECONDS
            pause_seconds = 0.0 if is_stable else min(_MAX_PAUSE_SECONDS, pause_seconds * 2 or _FIRST_PAUSE_SECONDS)
            _LOG.error(
                "a worker died and is replaced",
                extra={
                    "exit_code": code,
                    "lived_seconds": round(lived_seconds, 3),
                    "pause_seconds": pause_seconds,
                },
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause_seconds)
            if self._stop.is_set():
                return 0

    async def _start(self, arguments: Sequence[str]) -> asyncio.subprocess.Process:
        # Its standard input closes when this process ends, however it ends. -P: do not import from the working folder.
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "holdfast_server.main",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )

    async def _ends_before_stop(self, process: asyncio.subprocess.Process) -> bool:
        """Forward a worker's output until it ends or a signal stops the workers. Return whether it ended by itself."""
        ended = asyncio.create_task(self._forward_output(process))
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
            return not self._stop.is_set()
        finally:
            for task in (ended, stopped):
                task.cancel()
            await asyncio.gather(ended, stopped, return_exceptions=True)

    async def _forward_output(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        # A worker prints one line, when it serves.
        while line := await process.stdout.readline():
            self._any_has_served = True
            with suppress(OSError):
                sys.stdout.write(line.decode())
                sys.stdout.flush()
        await process.wait()

    async def _end(self, process: asyncio.subprocess.Process) -> int:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(self._drain_seconds + _KILL_SECONDS):
                # SIGTERM ends a worker that does not serve yet.
                return 0 if await process.wait() in (0, -signal.SIGTERM) else 1
        except TimeoutError:
            process.kill()
            await process.wait()
            return 1
