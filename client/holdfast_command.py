"""The program `holdfast`. It lies outside of the package so that it can report a package that is not ours."""

import os
import signal
import sys
from types import FrameType

_USAGE = 2
_INTERRUPTED = 130


def main() -> None:
    """Run the command line, or say in one line why it cannot be imported."""
    _hold_standard_streams()
    signal.signal(signal.SIGTERM, _end)
    # The command's own error has gRPC's words, which would also be in lines of gRPC's log.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        from holdfast.cli.main import main as run  # noqa: PLC0415

        run()
    except ImportError as error:
        found = getattr(sys.modules.get("holdfast"), "__file__", None)
        place = f" (the package 'holdfast' was found at {found})" if error.name == "holdfast.cli" else ""
        if sys.stderr is not None:
            sys.stderr.write(f"holdfast: {error}{place}\n")
        sys.exit(_USAGE)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _hold_standard_streams() -> None:
    """Open what is closed of descriptors 0 to 2, so that no connection or file gets the number of a standard stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _end(number: int, frame: FrameType | None) -> None:
    """End as the signal would, but remove what is half written."""
    sys.exit(128 + number)
