"""The standard streams of the server's programs, which may be closed, broken or full."""

import os
import sys
from contextlib import suppress
from typing import TextIO


def reserve_descriptors() -> None:
    """Open any of descriptors 0 to 2 that is closed, so that no connection or file of the store gets its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Python sets a stream to None if its descriptor was closed at start.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def was_closed(stream: TextIO) -> bool:
    """Return whether a standard stream was closed when the program began, so that it leads nowhere."""
    # Those that `reserve_descriptors` opened have a number as their name.
    return not isinstance(stream.name, str)


def write_stderr(line: str) -> None:
    """Write a line to stderr. Ignore a stderr that cannot be written."""
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")


def discard_stdout() -> None:
    """Discard output that stdout could not take: the interpreter would retry at its end and change the exit code."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)
