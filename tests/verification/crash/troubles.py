"""Troubles of a running server: system calls that fail, a disk that is full or read-only, too few descriptors."""

import os
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import holdfast
from grpc_health.v1 import health_pb2, health_pb2_grpc
from holdfast_server.health import READY

from tests.support.servers import start

_BLOCK = bytes(1 << 16)


@dataclass
class Served:
    """A running server.

    Attributes:
        client: a client of it.
        target: its address.
        pid: its process id.
        store: the path of its store, as this process sees it.
        path: the path of its store, as the server sees it.

    """

    client: holdfast.Client
    target: str
    pid: int
    store: Path
    path: Path

    def is_ready(self) -> bool:
        """Return whether its health is SERVING."""
        with grpc.insecure_channel(self.target) as channel:
            request = health_pb2.HealthCheckRequest(service=READY)
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=20)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


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
            yield Served(client, target, process.pid, Path(f"/proc/{process.pid}/root{path}"), path)
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(30) == 0


@contextmanager
def failing(pid: int, *faults: str, path: Path | None = None) -> Iterator[None]:
    """Let system calls of a process fail: what strace injects, such as "fsync:error=EIO".

    Args:
        pid: the process.
        faults: the faults.
        path: only calls on this file; None for any.

    """
    calls = ",".join(fault.partition(":")[0] for fault in faults)
    injected = [flag for fault in faults for flag in ("-e", f"inject={fault}")]
    where = [] if path is None else ["-P", str(path)]
    command = ["strace", "-f", "-o", "/dev/null", *where, "-e", f"trace={calls}", *injected, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    try:
        # A line about the path comes first.
        assert any("attached" in line for line in tracer.stderr)
        yield
    finally:
        tracer.terminate()
        tracer.communicate(timeout=30)


def fill(folder: Path) -> Path:
    """Fill the disk that a folder is on; the file that does it."""
    filler = folder / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for block in (_BLOCK, b"x"):
        with suppress(OSError):
            while True:
                os.write(descriptor, block)
    os.close(descriptor)
    return filler


def make_read_only(served: Served) -> None:
    """Let the ext4 file system of a server find an error, on which it becomes read-only for the rest of its mount."""
    inside = ["nsenter", "-t", str(served.pid), "-m"]
    find = [*inside, "findmnt", "-no", "SOURCE", str(served.path.parent)]
    device = subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip()
    assert device.startswith("/dev/loop")
    Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("1")


@contextmanager
def too_many_open_files(pid: int) -> Iterator[None]:
    """Let a process open nothing any more."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
