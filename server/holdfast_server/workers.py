"""Several server processes on one port: a parent that starts them, replaces one that dies, and stops them.

The kernel spreads connections over the processes (SO_REUSEPORT). They share nothing but the store, as replicas on
several machines would.
"""

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from holdfast_server.lifecycle import told_to_stop

_LOG = logging.getLogger("holdfast.server")
# A worker that dies sooner is replaced after a pause, which doubles each time.
_SETTLED_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# Beyond the time that a worker takes to drain and to end by itself.
_KILL_SECONDS = 2.0


async def supervise(count: int, listen: str, arguments: Sequence[str], *, drain_seconds: float) -> int:
    """Run workers until told to stop, then let them drain.

    Args:
        count: how many.
        listen: host:port; port 0 takes a free one for all of them.
        arguments: the command line of a worker, without its address.
        drain_seconds: how long a worker may take to end.

    Returns:
        The exit code: 0 if every worker has drained, 1 if one ended with an error before any had served, or had to be
        killed.

    Raises:
        OSError: the address cannot be listened on.

    """
    with _reserved(listen) as address:
        workers = _Workers([*arguments, "--listen", address], drain_seconds)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(workers.keep_one_running()) for _ in range(count)]
    return max(task.result() for task in tasks)


class _Workers:
    """The workers of one parent.

    Args:
        arguments: the command line of each.
        drain_seconds: how long one may take to end.

    """

    def __init__(self, arguments: Sequence[str], drain_seconds: float) -> None:
        self._arguments = arguments
        self._drain_seconds = drain_seconds
        self._stop = told_to_stop()
        self._any_has_served = False

    async def keep_one_running(self) -> int:
        """Start a worker, and another one each time that it dies, until told to stop. Returns its exit code."""
        pause_seconds = 0.0
        while True:
            started = time.monotonic()
            process = await self._start()
            if not await self._ends_before_stop(process):
                return await self._end(process)
            code, lived_seconds = process.returncode or 0, time.monotonic() - started
            if code > 0 and not self._any_has_served:
                # It has said why. Whoever watches this process decides whether to try again.
                _LOG.error("a worker ended at its start", extra={"exit_code": code})
                self._stop.set()
                return 1
            is_settled = lived_seconds >= _SETTLED_SECONDS
            pause_seconds = (
                0.0 if is_settled else min(_LONGEST_PAUSE_SECONDS, pause_seconds * 2 or _FIRST_PAUSE_SECONDS)
            )
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

    async def _start(self) -> asyncio.subprocess.Process:
        # Its standard input ends when this process does, however that comes. Modules of the working folder stay out.
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "holdfast_server.main",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )

    async def _ends_before_stop(self, process: asyncio.subprocess.Process) -> bool:
        """Wait until a worker has ended or is to be ended, and pass on what it prints."""
        ended = asyncio.create_task(self._pass_on(process))
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
            return not self._stop.is_set()
        finally:
            for task in (ended, stopped):
                task.cancel()
            await asyncio.gather(ended, stopped, return_exceptions=True)

    async def _pass_on(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        # A worker prints one line, once it serves.
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
                # One that has not begun to serve yet has nothing to drain.
                return 0 if await process.wait() in (0, -signal.SIGTERM) else 1
        except TimeoutError:
            process.kill()
            await process.wait()
            return 1


@contextmanager
def _reserved(listen: str) -> Iterator[str]:
    """The address with its port, held by a socket that never listens, so that only workers of this process get it.

    The socket is bound as one that shares the port with nobody, which fails while anybody else has it, a server with
    workers included. After that it lets the workers in, which share it.
    """
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as holder:
        # Connections of a server that has ended do not count.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((host.strip("[]"), int(port)))
        except OSError:
            raise OSError(f"cannot listen on {listen}") from None
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield f"{host}:{holder.getsockname()[1]}"
