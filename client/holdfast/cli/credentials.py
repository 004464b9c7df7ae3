"""The token of the commands: from a file or from the environment."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping

from holdfast._core import targets
from holdfast._core.tokens import Token
from holdfast.cli.files import UsageError

_MAX_BYTES = 64 << 10


def add_options(common: ArgumentParser, environment: Mapping[str, str]) -> None:
    """Add `--token-file` and `--insecure`."""
    common.add_argument(
        "--token-file",
        default=environment.get("HOLDFAST_TOKEN_FILE") or None,
        metavar="FILE",
        help="a file with the token for the server (default: HOLDFAST_TOKEN_FILE, else the token HOLDFAST_TOKEN)",
    )
    common.add_argument(
        "--insecure", action="store_true", help="allow sending the token in plaintext to another machine"
    )


def token_of(given: Namespace, environment: Mapping[str, str]) -> Token | None:
    """Return the token for the server, or a function that reads it; None if there is none. A folder needs none.

    Raises:
        UsageError: the file cannot be read.

    """
    if targets.is_folder(given.target):
        return None
    if given.token_file is None:
        return environment.get("HOLDFAST_TOKEN") or None
    path: str = given.token_file
    _read(path)
    # A token that was refused may have been replaced since.
    return lambda: _read(path)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            # Some editors begin a file with a byte order mark.
            return file.read(_MAX_BYTES).decode("utf-8-sig", errors="replace").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"the file {path!r} with the token cannot be read: {reason}") from None
