"""The files that a command reads and writes.

Pipes are read like regular files. A result replaces a regular file as a whole, or leaves it as it was.
"""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, BinaryIO, cast

from holdfast._core.files import write_whole
from holdfast.cli import streams
from holdfast.cli.streams import LocalIOError
from holdfast.cli.text import is_text, printable

_IN_MEMORY_BYTES = 16 << 20


class UsageError(Exception):
    """The arguments contradict each other, or a file that they name cannot be used."""


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file to save; `-` is stdin. Input that cannot seek is first read to its end.

    Raises:
        UsageError: the file cannot be opened, or is a device with bytes and not a terminal.
        LocalIOError: reading failed, or writing the temporary file that holds input that cannot seek.

    """
    with _source(path) as source:
        status = os.fstat(source.fileno())
        # Files in /proc have the size 0, whatever they contain.
        if stat.S_ISREG(status.st_mode) and status.st_size and path != "-":
            yield source
            return
        if stat.S_ISCHR(status.st_mode) and not source.isatty() and source.read(1):
            raise UsageError(f"{'stdin' if path == '-' else printable(path)}: is a device, which may have no end")
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as spooled:
            try:
                shutil.copyfileobj(source, cast(IO[bytes], spooled), 1 << 20)
                spooled.seek(0)
            except OSError as error:
                raise LocalIOError("stdin" if path == "-" else path, error) from None
            yield cast(BinaryIO, spooled)


def read(path: str) -> bytes:
    """Read a file or a pipe to its end.

    Raises:
        UsageError: the file cannot be opened.
        LocalIOError: reading failed.

    """
    with opened(path) as file:
        return file.read()


def require_writable(path: str) -> None:
    """Check that a result can be written to a file, before the result is loaded.

    Raises:
        UsageError: the path is empty or a folder, or its folder does not exist or cannot be written to.

    """
    if path == "-":
        return
    if not path:
        raise UsageError("--output must not be empty: expected a file, or - for stdout")
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path):
        raise UsageError(f"{printable(path)}: is a directory")
    if _is_special(path):
        return
    if not os.path.isdir(folder):
        raise UsageError(f"{printable(path)}: the folder {printable(folder)} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{printable(path)}: the folder {printable(folder)} cannot be written to")


def write(path: str, data: bytes) -> None:
    """Write a result to stdout (`-`), into a pipe or a device, or to a regular file, which is replaced as a whole.

    Raises:
        UsageError: the data is binary and its destination is a terminal.
        LocalIOError: writing failed.

    """
    if path == "-":
        if streams.is_terminal(sys.stdout) and not is_text(data):
            raise _binary()
        streams.write(data)
        return
    try:
        if _is_special(path):
            _write_through(path, data)
        else:
            write_whole(path, data)
    except OSError as error:
        raise LocalIOError(path, error, is_output=True) from None


@contextmanager
def _source(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        if sys.stdin is None:
            raise UsageError("stdin: it is closed")
        yield cast(BinaryIO, sys.stdin.buffer)
        return
    try:
        if os.path.isdir(path):
            raise UsageError(f"{printable(path)}: is a directory")
        file = open(path, "rb")  # noqa: SIM115 - only errors of opening are the caller's mistake
    except (OSError, ValueError) as error:
        raise UsageError(f"{printable(path)}: {getattr(error, 'strerror', None) or error}") from None
    with file:
        yield file


def _is_special(path: str) -> bool:
    """Return whether a path names a pipe, a device or an open file, which a rename cannot replace."""
    return path.startswith(("/dev/", "/proc/")) or (os.path.exists(path) and not os.path.isfile(path))


def _write_through(path: str, data: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        if file.isatty() and not is_text(data):
            raise _binary()
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]


def _binary() -> UsageError:
    return UsageError("the payload is binary and goes to a terminal: use --output FILE, or a pipe")


def parts(named: Mapping[str, str]) -> dict[str, bytes]:
    """Return the parts whose names and files are given."""
    return {name: read(path) for name, path in named.items()}
