"""The files that a command reads and writes.

Pipes are read like regular files. A result replaces a regular file as a whole, or leaves it as it was.
"""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import IO, BinaryIO, cast

from holdfast._core.files import write_whole
from holdfast.cli import streams
from holdfast.cli.streams import LocalIOError
from holdfast.cli.text import is_text, printable

_IN_MEMORY_BYTES = 16 << 20
_COPY_BYTES = 1 << 20


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
                shutil.copyfileobj(source, cast(IO[bytes], spooled), _COPY_BYTES)
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
    with destination(path) as target:
        if isinstance(target, str):
            write_whole(target, data)
        else:
            target.write(data)


@contextmanager
def destination(path: str) -> Iterator[str | BinaryIO]:
    """Yield where to write a result: the path of a regular file, otherwise a temporary file.

    The temporary file is copied to stdout (`-`), the pipe or the device if the block succeeds.

    Raises:
        UsageError: the result is binary and its destination is a terminal.
        LocalIOError: writing failed.

    """
    try:
        if path != "-" and not _is_special(path):
            yield path
            return
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as spooled:
            result = cast(BinaryIO, spooled)
            yield result
            result.seek(0)
            if path == "-":
                _copy_to_stdout(result)
            else:
                _copy_through(path, result)
    except OSError as error:
        raise LocalIOError("stdout" if path == "-" else path, error, is_output=True) from None


def _copy_to_stdout(result: BinaryIO) -> None:
    if streams.is_terminal(sys.stdout):
        _require_text(result)
    while data := result.read(_COPY_BYTES):
        streams.write(data)


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
    # Files below /dev/shm are ordinary ones, in memory.
    is_of_system = path.startswith(("/dev/", "/proc/")) and not path.startswith("/dev/shm/")  # noqa: S108
    return is_of_system or (os.path.exists(path) and not os.path.isfile(path))


def _copy_through(path: str, result: BinaryIO) -> None:
    with open(path, "wb", buffering=0) as file:
        if file.isatty():
            _require_text(result)
        while data := result.read(_COPY_BYTES):
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]


def _require_text(result: BinaryIO) -> None:
    data = result.read()
    result.seek(0)
    if not is_text(data):
        raise UsageError("the payload is binary and goes to a terminal: use --output FILE, or a pipe")


def contents(named: Mapping[str, str]) -> dict[str, bytes]:
    """Return the contents of files by the names that are given to them."""
    return {name: read(path) for name, path in named.items()}


@contextmanager
def parts(named: Mapping[str, str]) -> Iterator[dict[str, BinaryIO]]:
    """Open the files of parts by the names that are given to them.

    Raises:
        UsageError: a file cannot be opened.
        LocalIOError: reading failed.

    """
    with ExitStack() as files:
        yield {name: files.enter_context(opened(path)) for name, path in named.items()}
