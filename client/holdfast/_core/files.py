"""Files of callers, written whole or not at all."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def write_whole(path: "str | os.PathLike[str]", data: bytes) -> None:
    """Write a file beside its place and move it there, so that a failure leaves the old one as it was.

    What exists there and is no regular file, such as a pipe or a device, is written to directly. A link is followed.

    Args:
        path: where the file goes; its folder must exist.
        data: all that it will hold.

    Raises:
        OSError: it cannot be written.

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
    """Give the draft the owner and the mode of the file that it replaces, or those of a new file."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(number, 0o666 & ~mask)
        return
    # Only root may give a file to somebody else.
    with suppress(PermissionError):
        os.fchown(number, status.st_uid, status.st_gid)
    os.fchmod(number, stat.S_IMODE(status.st_mode))
