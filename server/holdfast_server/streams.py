"""The standard streams of the server's programs, which may be closed, broken or full."""

import os
import sys
from contextlib import suppress


def hold() -> None:
    """Open what is closed of descriptors 0 to 2, so that no connection or file of the store gets its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Python has no stream where the descriptor was closed when it started.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def note(line: str) -> None:
    """Write a line to stderr, if that can be."""
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")


def discard_stdout() -> None:
    """Drop what stdout could not take: the interpreter would try again at its end, and change the exit code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
