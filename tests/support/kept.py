"""Servers of object stores that all processes of a test run share, each kept by a process of its own.

The first process that needs a server starts it. It stops when the run has ended, also if that was killed.

Usage: python -m tests.support.kept NAME PID keeps a server as long as a process lives, and prints its URL.
"""

import fcntl
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import ceph, object_servers
from tests.support.repository import ROOT


@contextmanager
def _ceph(folder: Path) -> Iterator[str]:
    with ceph.running(folder) as cluster:
        yield cluster.endpoint_url


_SERVERS = {
    "ceph": _ceph,
    "minio": object_servers.minio,
    "versitygw": object_servers.versitygw,
    "azurite": lambda _: object_servers.azurite(),
}


def url_of(name: str, folder: Path) -> str:
    """Return the URL of the server that the run shares.

    Args:
        name: the server.
        folder: a folder that the processes of the run share, for the URLs.

    Raises:
        RuntimeError: the server did not start.

    """
    with (folder / f"{name}.url").open("a+") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        shared.seek(0)
        url = shared.read()
        if not url:
            url = _started(name)
            shared.write(url)
    return url


def _started(name: str) -> str:
    run = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    command = [sys.executable, "-m", __name__, name, str(run)]
    keeper = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    with keeper.stdout:
        url = keeper.stdout.readline().strip()
    if not url:
        raise RuntimeError(f"{name} did not start: its keeper ended with {keeper.wait()}")
    return url


def main(name: str, pid: int) -> None:
    """Keep a server until a process has ended."""
    ended = os.pidfd_open(pid)
    with (
        tempfile.TemporaryDirectory(prefix=f"{name}-", ignore_cleanup_errors=True) as folder,
        _SERVERS[name](Path(folder)) as url,
    ):
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        select.select([ended], [], [])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
