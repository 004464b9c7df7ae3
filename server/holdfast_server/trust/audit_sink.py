"""Sinks of the audit log: a file that may be rotated, or an output of the process. Everything here blocks."""

import errno
import os
import select
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

# How long an output that accepts nothing may hold up the writer.
_STREAM_SECONDS = 1.0


class Written(NamedTuple):
    """The outcome of a write: how many lines, from the first on, are written whole; and the error that ended it."""

    lines: int
    error: OSError | None


class Sink(Protocol):
    """Where the lines of the audit log go."""

    def write(self, lines: Sequence[bytes]) -> Written:
        """Write lines, each of which ends with a line break. Lines that are not written whole may be written again."""

    def close(self) -> None:
        """Close the sink."""


class FileSink:
    """A file that lines are appended to, also by other processes.

    Before each write the file is opened again if another one, or none, is at its path: a file that was renamed or
    removed by a rotation gets no further lines.

    Args:
        path: the file. It is created if it does not exist, with mode 0600.
        syncs: whether a line is written only once it is on the disk.

    Raises:
        OSError: the file cannot be opened, or is not a regular file.

    """

    def __init__(self, path: Path, *, syncs: bool) -> None:
        self._path = path
        self._syncs = syncs
        self._ends_within_line = False
        self._descriptor = self._open()

    def write(self, lines: Sequence[bytes]) -> Written:
        try:
            self._reopen_if_moved()
            if self._ends_within_line:
                self._ends_within_line = os.write(self._descriptor, b"\n") == 0
        except OSError as failed:
            return Written(0, failed)
        data = b"".join(lines)
        written, error = _write(self._descriptor, data)
        if written and data[written - 1 : written] != b"\n":
            self._ends_within_line = True
        if error is None and self._syncs:
            try:
                os.fdatasync(self._descriptor)
            except OSError as failed:
                return Written(0, failed)
        return Written(_whole(lines, written), error)

    def close(self) -> None:
        os.close(self._descriptor)

    def _reopen_if_moved(self) -> None:
        opened = os.fstat(self._descriptor)
        try:
            found = os.stat(self._path)
            if (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino):
                return
        except FileNotFoundError:
            pass
        descriptor = self._open()
        os.close(self._descriptor)
        self._descriptor = descriptor

    def _open(self) -> int:
        # O_NONBLOCK: to open a pipe would wait for its reader. It has no effect on regular files.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(self._path))
            size = os.fstat(descriptor).st_size
            # A process that crashed, or a full disk, may have left a part of a line.
            self._ends_within_line = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            if self._syncs:
                _sync_folder(self._path.parent)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


class StreamSink:
    """An output of the process.

    Args:
        descriptor: its number.

    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ends_within_line = False

    def write(self, lines: Sequence[bytes]) -> Written:
        start = b"\n" if self._ends_within_line else b""
        data = start + b"".join(lines)
        written, error = _write(self._descriptor, data)
        if written:
            self._ends_within_line = data[written - 1 : written] != b"\n"
        return Written(_whole(lines, written - len(start)), error)

    def close(self) -> None:
        """Leave the output open: it belongs to the process."""


def _write(descriptor: int, data: bytes) -> tuple[int, OSError | None]:
    """Write bytes. Return how many were written, and the error that ended it."""
    written = 0
    view = memoryview(data)
    while written < len(data):
        try:
            written += os.write(descriptor, view[written:])
        except BlockingIOError as error:
            if not select.select((), (descriptor,), (), _STREAM_SECONDS)[1]:
                return written, error
        except OSError as error:
            return written, error
    return written, None


def _whole(lines: Sequence[bytes], written: int) -> int:
    """Return how many lines the first bytes hold whole."""
    for count, line in enumerate(lines):
        written -= len(line)
        if written < 0:
            return count
    return len(lines)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
