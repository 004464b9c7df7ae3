"""Files that a command reads and writes: pipes like regular files, and results whole or not at all."""

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
    """The arguments do not fit together, or a file that they name cannot be used."""


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file to save; `-` is stdin. What cannot seek is read to its end first.

    Raises:
        UsageError: it cannot be opened, or is a device with bytes and not a terminal.
        LocalIOError: it, or the temporary file that it goes through, failed on the way.

    """
    with _source(path) as source:
        status = os.fstat(source.fileno())
        # A file of /proc says that it is empty.
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
    """Read a file or a pipe whole.

    Raises:
        UsageError: it cannot be opened.
        LocalIOError: it failed on the way.

    """
    with opened(path) as file:
        return file.read()


def require_writable(path: str) -> None:
    """Check, before anything is loaded, that a result can go to a file.

    Raises:
        UsageError: it is a folder, or has none that can be written to.

    """
    if path == "-":
        return
    if not path:
        raise UsageError("--output must not be empty: name a file, or - for stdout")
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
    """Write a result: to stdout for `-`, into a pipe or a device, or to a file that has all of it or is left alone.

    Raises:
        UsageError: the data is binary and goes to a terminal.
        LocalIOError: it cannot be written.

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
        file = open(path, "rb")  # noqa: SIM115 - only what opening raises is the caller's mistake
    except (OSError, ValueError) as error:
        raise UsageError(f"{printable(path)}: {getattr(error, 'strerror', None) or error}") from None
    with file:
        yield file


def _is_special(path: str) -> bool:
    """Return whether a path leads to a pipe, a device or an open file, which cannot be replaced."""
    return path.startswith(("/dev/", "/proc/")) or (os.path.exists(path) and not os.path.isfile(path))


def _write_through(path: str, data: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        if file.isatty() and not is_text(data):
            raise _binary()
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]


def _binary() -> UsageError:
    return UsageError("the payload is binary and goes to a terminal: use --output FILE, or a pipe")


def parts(named: Mapping[str, str]) -> dict[str, bytes]:
    """Read the files of named parts."""
    return {name: read(path) for name, path in named.items()}
