"""Two server processes on one store, and the events that strike them.

One server is never restarted, so that its memory and open files can be watched. The other one and a store that is a
process are killed by turns, and a server of a folder is stopped with the locks that it holds. Collections run on the
servers' schedule and by command.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import boto3
from holdfast_server.stores.base import ObjectStore
from holdfast_server.stores.file import FileStore
from holdfast_server.stores.s3 import S3Store

from tests.support import ceph, servers
from tests.support.ports import free_port
from tests.support.servers import start
from tests.verification.soak.users import RETENTION

GRACE_SECONDS = 6
# Caches that are full at once: memory that grows after that is a leak.
_CACHE_BYTES = 1 << 20
_STOPPED_SECONDS = 0.5
_TRACE_ID = re.compile(r"\b[0-9a-f]{32}\b")


@dataclass(frozen=True)
class Store:
    """A store that the soak can disturb.

    Attributes:
        url: the URL of the store.
        path: the folder of its files and of the servers' log.
        hurt: disturbs it, given the process ids of the servers; returns when it is over.
        opened: opens it.

    """

    url: str
    path: Path
    hurt: Callable[[list[int]], None]
    opened: Callable[[], AbstractAsyncContextManager[ObjectStore]]

    @property
    def log(self) -> Path:
        """The file of the servers' log."""
        return self.path / "servers.log"


def with_log_lines(wrong: str, log: Path) -> str:
    """Return a broken promise with the lines of the servers' log that have a trace id that it names."""
    ids = _TRACE_ID.findall(wrong)
    lines = log.read_text(errors="replace").splitlines() if ids else []
    return "\n".join([wrong, *(f"  logged: {line}" for line in lines if any(each in line for each in ids))])


@contextmanager
def folder(path: Path) -> Iterator[Store]:
    """A folder store. Its event stops a server for a moment, with the locks on the database that it holds."""

    def stop_for_a_moment(servers: list[int]) -> None:
        _, other = servers
        os.kill(other, signal.SIGSTOP)
        time.sleep(_STOPPED_SECONDS)
        os.kill(other, signal.SIGCONT)

    yield Store((path / "store").as_uri(), path, stop_for_a_moment, lambda: FileStore.open(path / "store"))


@contextmanager
def bucket(path: Path) -> Iterator[Store]:
    """A bucket of a Ceph cluster. Its event kills and restarts the cluster."""
    os.environ |= ceph.CREDENTIALS
    with ceph.running(path / "ceph", "bluestore") as cluster:
        os.environ["AWS_ENDPOINT_URL_S3"] = cluster.endpoint_url
        boto3.client("s3").create_bucket(Bucket="soak")

        def restart(servers: list[int]) -> None:
            cluster.kill()
            cluster.restart()

        try:
            yield Store(
                "s3://soak/some/prefix",
                path,
                restart,
                lambda: S3Store.open("soak", "some/prefix", endpoint_url=cluster.endpoint_url),
            )
        finally:
            del os.environ["AWS_ENDPOINT_URL_S3"]


class World:
    """The servers of a soak. Use `running`.

    Args:
        store: the store.
        metrics_listen: where each server has its metrics; nowhere by default.

    Attributes:
        targets: the target of the steady server, then that of the other one.
        steady: the process of the steady server, which is never restarted.
        events: how often each event has struck.

    """

    def __init__(self, store: Store, metrics_listen: tuple[str, str] | None = None) -> None:
        self._store = store
        self._metrics = [("--metrics-listen", each) for each in metrics_listen] if metrics_listen else [(), ()]
        self._settings = (
            *("--grace-seconds", str(GRACE_SECONDS), "--gc-interval-seconds", "3", "--drain-seconds", "2"),
            *("--retention", json.dumps(RETENTION)),
            *("--cache-bytes", str(_CACHE_BYTES), "--base-bytes", str(_CACHE_BYTES)),
        )
        self._listen = f"127.0.0.1:{free_port()}"
        self._log = store.log.open("a")
        self.events: Counter[str] = Counter()
        self.steady, first = self._start("127.0.0.1:0", self._metrics[0])
        self._other, second = self._start(self._listen, self._metrics[1])
        self.targets = [first, second]

    @classmethod
    @asynccontextmanager
    async def running(cls, store: Store, metrics_listen: tuple[str, str] | None = None) -> AsyncIterator["World"]:
        world = await asyncio.to_thread(cls, store, metrics_listen)
        try:
            yield world
        finally:
            for process in (world.steady, world._other):
                process.terminate()
            world._log.close()
            for process in (world.steady, world._other):
                assert await asyncio.to_thread(process.wait, 60) == 0

    async def disturb(self, pause_seconds: float, over: asyncio.Event) -> None:
        """Kill, collect, restart and disturb the store in turn, until the time is up."""
        while True:
            for event in (self._kill_server, self.collect, self._stop_server, self._hurt_store):
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), pause_seconds)
                if over.is_set():
                    return
                await event()
                self.events[event.__name__.strip("_")] += 1

    async def collect(self) -> None:
        """Run `holdfast-server gc`."""
        code, output = await self._command("gc", "--retention", json.dumps(RETENTION))
        assert code == 0, output

    async def check(self) -> dict[str, int]:
        """Run fsck on the whole store. Return its figures."""
        code, output = await self._command("fsck")
        assert code in (0, 1), output
        summary: dict[str, int] = json.loads(output.splitlines()[-1])
        return summary

    async def _command(self, name: str, *arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(
            servers.run, name, "--store", self._store.url, *arguments, stderr=self._log, timeout=300
        )
        return done.returncode, done.stdout

    async def _kill_server(self) -> None:
        self._other.kill()
        await self._restart()

    async def _stop_server(self) -> None:
        self._other.terminate()
        await self._restart()

    async def _restart(self) -> None:
        await asyncio.to_thread(self._other.wait, 60)
        self._other, _ = await asyncio.to_thread(self._start, self._listen, self._metrics[1])

    def _start(self, listen: str, more: tuple[str, ...]) -> tuple[subprocess.Popen[str], str]:
        return start(self._store.url, *self._settings, *more, listen=listen, stderr=self._log)

    async def _hurt_store(self) -> None:
        await asyncio.to_thread(self._store.hurt, [self.steady.pid, self._other.pid])
