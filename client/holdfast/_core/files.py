"""Writing a payload to a file of the caller: whole, or not at all."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from holdfast._core import arguments
from holdfast._core.checkpoint import LoadedCheckpoint


def write_part(path: str, loaded: LoadedCheckpoint, part: str | None) -> None:
    """Write a part of a checkpoint to a file.

    Args:
        path: the file; its folder must exist.
        loaded: the checkpoint.
        part: the part; None for the default part or the only one.

    Raises:
        InvalidRequestError: the checkpoint has no such part.
        OSError: the file cannot be written.

    """
    try:
        data = loaded.data if part is None else loaded.parts[part]
    except KeyError:
        names = ", ".join(sorted(map(repr, loaded.parts)))
        raise arguments.invalid("part", f"must be one of {names:.500}, not {part!r:.100}") from None
    write_whole(path, data)


def write_whole(path: "str | os.PathLike[str]", data: bytes) -> None:
    """Write a temporary file beside the target and rename it, so that a failure leaves the old file as it was.

    If the target exists and is not a regular file, such as a pipe or a device, it is written directly. A link is
    followed.

    Args:
        path: the file; its folder must exist.
        data: its new content.

    Raises:
        OSError: the file cannot be written.

    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        Path(target).write_bytes(data)
        return
    _replace(target, data)


def _replace(target: str, data: bytes) -> None:
    number, draft = tempfile.mkstemp(prefix=".holdfast-", suffix=".tmp", dir=os.path.dirname(target))
    try:
        with os.fdopen(number, "wb") as file:
            _set_mode(number, target)
            file.write(data)
            file.flush()
            os.fsync(number)
        os.replace(draft, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise


def _set_mode(number: int, target: str) -> None:
    """Give the draft the owner and mode of the file that it replaces, or those of a new file."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(number, 0o666 & ~mask)
        return
    # Only root may give a file to another user.
    with suppress(PermissionError):
        os.fchown(number, status.st_uid, status.st_gid)
    os.fchmod(number, stat.S_IMODE(status.st_mode))
