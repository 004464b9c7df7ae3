"""Troubles of a running server: system calls that fail, a disk that is full or read-only, too few descriptors."""

import os
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import holdfast

from tests.support.servers import start

_BLOCK = bytes(1 << 16)


@dataclass
class Served:
    """A running server.

    Attributes:
        client: a client of it.
        pid: its process id.
        store: the path of its store, as this process sees it.
        path: the path of its store, as the server sees it.

    """

    client: holdfast.Client
    pid: int
    store: Path
    path: Path

    @property
    def lane(self) -> int:
        """The id of the process that creates small files."""
        (lane,) = children(self.pid)
        return lane


@contextmanager
def serving(path: Path, *, within: Sequence[str] = ()) -> Iterator[Served]:
    """Run a server on a folder. At the end it must be alive, and it drains.

    Args:
        path: the folder, as the server sees it.
        within: a command that executes the server's.

    """
    process, target = start(path.as_uri(), within=within)
    try:
        with holdfast.Client(target, timeout=20) as client:
            yield Served(client, process.pid, Path(f"/proc/{process.pid}/root{path}"), path)
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(30) == 0


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            found += map(int, (task / "children").read_text().split())
    return found


@contextmanager
def failing(pids: Sequence[int], *faults: str) -> Iterator[None]:
    """Have system calls of processes fail: what strace injects, such as "fsync:error=EIO"."""
    calls = ",".join(fault.partition(":")[0] for fault in faults)
    injected = [flag for fault in faults for flag in ("-e", f"inject={fault}")]
    who = [flag for pid in pids for flag in ("-p", str(pid))]
    command = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={calls}", *injected, *who]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    try:
        for _ in pids:
            assert "attached" in tracer.stderr.readline()
        yield
    finally:
        tracer.terminate()
        tracer.communicate(timeout=30)


def fill(folder: Path) -> Path:
    """Fill the disk that a folder is on; the file that does it."""
    filler = folder / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    for block in (_BLOCK, b"x"):
        with suppress(OSError):
            while True:
                os.write(descriptor, block)
    os.close(descriptor)
    return filler


@contextmanager
def read_only(served: Served) -> Iterator[None]:
    """Mount a server's file system for reading only."""
    _remount(served, "ro")
    try:
        yield
    finally:
        _remount(served, "rw")


def _remount(served: Served, mode: str) -> None:
    command = ["nsenter", "-t", str(served.pid), "-m", "mount", "-o", f"remount,{mode}", str(served.path.parent)]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def too_many_open_files(pid: int) -> Iterator[None]:
    """Let a process open nothing any more."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
