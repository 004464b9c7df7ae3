"""Writing a payload to a file of the caller: whole, or not at all."""

import errno
import io
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from inspect import iscoroutinefunction
from pathlib import Path
from reprlib import repr  # noqa: A004 - bounded, unlike the built-in one
from typing import IO, Any, BinaryIO, Protocol, cast

from holdfast._core.received import Sink

Target = str | os.PathLike[str] | BinaryIO
_COPY_BYTES = 1 << 20


class Draft(Sink, Protocol):
    """The new content of a file. The file gets it when it is whole."""

    def begin(self) -> None:
        """Make what holds the content until then.

        Raises:
            OSError: no file can be made there.

        """

    def commit(self) -> None:
        """Let the file have the content.

        Raises:
            OSError: the file cannot be written.

        """

    def discard(self) -> None:
        """Drop the content, unless it was committed."""


def draft_of(target: Target) -> Draft:
    """Return a draft of a file.

    A file that a path names is replaced by a temporary file beside it. A pipe, a device or an open file that cannot
    seek gets a copy of a temporary file. An open file that can seek is written from its position on.

    Args:
        target: a path, whose folder must exist, or an open binary file. A link is followed.

    Raises:
        TypeError: the target is neither a path nor a binary file that is open for writing.

    """
    if isinstance(target, str | os.PathLike):
        path = os.path.realpath(os.fspath(target))
        if os.path.exists(path) and not os.path.isfile(path):
            return _Copied(path)
        return _Beside(path)
    if iscoroutinefunction(getattr(target, "write", None)):
        raise TypeError(f"file must be a file of Python's own kind, not an asynchronous one: {repr(target)}")
    if not hasattr(target, "write") or (hasattr(target, "writable") and not target.writable()):
        raise TypeError(f"file must be a path or a binary file that is open for writing, not {repr(target)}")
    if hasattr(target, "encoding"):
        raise TypeError(f"file must be open in binary mode ('wb'), not a text file: {repr(target)}")
    if hasattr(target, "seekable") and target.seekable():
        return _InPlace(target)
    return _Copied(target)


def write_whole(path: "str | os.PathLike[str]", data: bytes) -> None:
    """Write data to a file, so that a failure leaves the old content as it was.

    Args:
        path: the file; its folder must exist.
        data: its new content.

    Raises:
        OSError: the file cannot be written.

    """
    draft = draft_of(path)
    try:
        draft.begin()
        draft.write(data)
        draft.commit()
    finally:
        draft.discard()


class _Beside:
    """A temporary file beside its target, which it replaces."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._path = ""
        self._file: IO[bytes] = io.BytesIO()

    def begin(self) -> None:
        number, self._path = tempfile.mkstemp(prefix=".holdfast-", suffix=".tmp", dir=os.path.dirname(self._target))
        self._file = os.fdopen(number, "wb", buffering=0)

    def write(self, data: bytes) -> None:
        _write_all(self._file, data)

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()

    def commit(self) -> None:
        _set_mode(self._file.fileno(), self._target)
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._path, self._target)
        self._path = ""

    def discard(self) -> None:
        self._file.close()
        if self._path:
            with suppress(OSError):
                os.unlink(self._path)


class _Copied:
    """A temporary file that is copied to its target, which cannot be replaced."""

    def __init__(self, target: "str | BinaryIO") -> None:
        self._target = target
        self._file: IO[bytes] = io.BytesIO()

    def begin(self) -> None:
        self._file = cast(IO[bytes], tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - until discard

    def write(self, data: bytes) -> None:
        _write_all(self._file, data)

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()

    def commit(self) -> None:
        self._file.seek(0)
        if isinstance(self._target, str):
            with Path(self._target).open("wb") as target:
                shutil.copyfileobj(self._file, target, _COPY_BYTES)
            return
        while data := self._file.read(_COPY_BYTES):
            _write_all(self._target, data)
        self._target.flush()

    def discard(self) -> None:
        self._file.close()


class _InPlace:
    """An open file of the caller, which is cut back to where it stood if its content is discarded."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._start = 0
        # As if it were committed: nothing is written yet that could be cut off.
        self._is_committed = True

    def begin(self) -> None:
        self._start = self._target.tell()
        self._is_committed = False

    def write(self, data: bytes) -> None:
        _write_all(self._target, data)

    def restart(self) -> None:
        self._target.seek(self._start)
        self._target.truncate()

    def commit(self) -> None:
        self._target.flush()
        self._is_committed = True

    def discard(self) -> None:
        if not self._is_committed:
            with suppress(OSError, ValueError):
                self.restart()


def _write_all(file: Any, data: bytes) -> None:
    """Write all bytes: a file without a buffer may take fewer at a time."""
    rest = memoryview(data)
    while rest:
        written = file.write(rest)
        if written is None and isinstance(file, io.RawIOBase):
            raise BlockingIOError(errno.EAGAIN, "the file takes no data at the moment, in non-blocking mode")
        # Objects that are only like a file may return None once they have taken everything.
        rest = rest[len(rest) if written is None else written :]


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
