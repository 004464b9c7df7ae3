"""Writes to the standard streams, which may be closed, full, broken, or unable to encode a character."""

import errno
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from holdfast.cli.text import printable


class LocalIOError(Exception):
    """A local file or a standard stream could not be read or written.

    Args:
        place: the file's path, or the stream's name.
        error: the cause.
        is_output: whether writing a result failed, not reading a payload.

    Attributes:
        is_early: whether the command had not ended.

    """

    is_early = False

    def __init__(self, place: str, error: OSError, *, is_output: bool = False) -> None:
        super().__init__(f"{printable(place)}: {error.strerror or error}")
        self.is_output = is_output
        self.is_broken_pipe = error.errno == errno.EPIPE


def write(data: str | bytes) -> None:
    """Write to stdout and flush it.

    Raises:
        LocalIOError: writing failed.

    """
    try:
        _write(sys.stdout, data)
    except OSError as error:
        _discard(sys.stdout)
        raise LocalIOError("stdout", error, is_output=True) from None


def note(text: str) -> None:
    """Write a line to stderr. Ignore an error: there is no other place to report it."""
    try:
        _write(sys.stderr, f"{text}\n")
    except OSError:
        _discard(sys.stderr)


@contextmanager
def watching_reader(on_gone: Callable[[], None]) -> Iterator[None]:
    """Notice that the reader of stdout has gone, also while nothing is written.

    Args:
        on_gone: called in a thread, once.

    """
    waking, woken = os.pipe()
    poll = select.poll()
    poll.register(waking, select.POLLIN)
    with suppress(OSError, ValueError, AttributeError):
        # Errors and hang-ups are always reported.
        poll.register(sys.stdout.fileno(), 0)

    def wait() -> None:
        if any(number != waking for number, _ in poll.poll()):
            on_gone()

    thread = threading.Thread(target=wait, name="holdfast-stdout", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(woken)
        thread.join()
        os.close(waking)


def is_terminal(stream: Any) -> bool:
    """Return whether a standard stream is open and a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def _write(stream: Any, data: str | bytes) -> None:
    if stream is None:
        raise OSError(errno.EBADF, "it is closed")
    # Escapes characters that the terminal's encoding lacks.
    encoded = data if isinstance(data, bytes) else data.encode(stream.encoding or "ascii", "backslashreplace")
    stream.flush()
    stream.buffer.write(encoded)
    stream.buffer.flush()


def _discard(stream: Any) -> None:
    """Drop data that could not be written. Otherwise the interpreter writes it again at exit and reports the error."""
    if stream is None or stream not in (sys.__stdout__, sys.__stderr__):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
