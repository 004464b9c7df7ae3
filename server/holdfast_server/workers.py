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
from contextlib import contextmanager

from holdfast_server.lifecycle import told_to_stop

_LOG = logging.getLogger("holdfast.server")
_SHORTEST_LIFE_SECONDS = 5.0
# Beyond the time that a worker takes to drain.
_KILL_SECONDS = 5.0


async def supervise(count: int, listen: str, arguments: Sequence[str], *, drain_seconds: float) -> int:
    """Run workers until told to stop, then let them drain.

    Args:
        count: how many.
        listen: host:port; port 0 takes a free one for all of them.
        arguments: the command line of a worker, without its address.
        drain_seconds: how long a worker may take to end.

    Returns:
        The exit code: 0 where every worker has drained, 1 where one did not start or had to be killed.

    """
    with _reserved(listen) as address:
        stop = told_to_stop()
        async with asyncio.TaskGroup() as group:
            workers = [
                group.create_task(_keep_running([*arguments, "--listen", address], stop, drain_seconds))
                for _ in range(count)
            ]
    return max(worker.result() for worker in workers)


async def _keep_running(arguments: Sequence[str], stop: asyncio.Event, drain_seconds: float) -> int:
    while True:
        started = time.monotonic()
        # Its standard input ends when this process does, however that comes.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "holdfast_server.main", *arguments, stdin=asyncio.subprocess.PIPE
        )
        ended, stopped = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                return await _stop(process, drain_seconds)
        finally:
            for task in (ended, stopped):
                task.cancel()
            await asyncio.gather(ended, stopped, return_exceptions=True)
        if time.monotonic() - started < _SHORTEST_LIFE_SECONDS:
            # It has said why. Whoever watches this process decides whether to try again.
            _LOG.error("a worker ended at its start", extra={"exit_code": process.returncode})
            stop.set()
            return 1
        _LOG.error("a worker died and is replaced", extra={"exit_code": process.returncode})


async def _stop(process: asyncio.subprocess.Process, drain_seconds: float) -> int:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(drain_seconds + _KILL_SECONDS):
            # One that has not begun to serve yet has nothing to drain.
            return 0 if await process.wait() in (0, -signal.SIGTERM) else 1
    except TimeoutError:
        process.kill()
        await process.wait()
        return 1


@contextmanager
def _reserved(listen: str) -> Iterator[str]:
    """The address with its port, held by a socket that never listens, so that nobody else gets it."""
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            holder.bind((host.strip("[]"), int(port)))
        except OSError:
            raise OSError(f"cannot listen on {listen}") from None
        yield f"{host}:{holder.getsockname()[1]}"
