"""What the errors of a file system mean to those who use a store in a folder, in words."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast_server.stores.base import (
    NothingWrittenError,
    ObjectNotFoundError,
    StoreAccessDeniedError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)

_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_ABSENCES = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_WORDS = {
    errno.EACCES: "refuses access",
    errno.EPERM: "refuses access",
    errno.EROFS: "is read-only",
    errno.ENOSPC: "cannot be written to: the disk is full",
    errno.EDQUOT: "cannot be written to: the disk quota is used up",
    errno.EIO: "failed: the disk reported an I/O error",
    errno.EMFILE: "cannot be used: the server has too many open files",
    errno.ENFILE: "cannot be used: the machine has too many open files",
    errno.ENOMEM: "cannot be used: the machine is out of memory",
    errno.ENAMETOOLONG: "cannot be used: its path is too long",
}


@contextmanager
def errors_mapped(key: str | None = None) -> Iterator[None]:
    """Raise the errors of a file system as those of a store.

    Args:
        key: the object that is read; None where none is.

    """
    try:
        yield
    except OSError as error:
        if key is not None and error.errno in _ABSENCES:
            raise ObjectNotFoundError(key) from error
        raise of_errno(error.errno or 0, str(error)) from error


def of_errno(number: int, detail: str = "") -> StoreError:
    """Return the error of a store that stands for one of a file system.

    Args:
        number: the error.
        detail: the system's own words, with the path.

    """
    if number in _REFUSALS:
        return StoreAccessDeniedError(_told(number), detail=detail)
    return StoreUnavailableError(_told(number), detail=detail)


def of_failed_create(number: int, where: str, *, may_exist: bool) -> StoreError:
    """Return the same for an object that could not be created.

    Args:
        number: the error.
        where: the store's folder.
        may_exist: whether it came so late that the object may be there, now or after a crash.

    """
    detail = f"{where}: {os.strerror(number)}"
    if may_exist:
        return StoreUnavailableError(_told(number), detail=detail)
    if number in _REFUSALS:
        return StoreAccessDeniedError(_told(number), detail=detail)
    kind = StoreFullError if number in _FULL else NothingWrittenError
    return kind(_told(number), detail=detail)


def _told(number: int) -> str:
    if number in _ABSENCES:
        return "the store's folder is gone"
    name = errno.errorcode.get(number, "unknown error")
    return f"the store's folder {_WORDS.get(number, 'failed')} ({name})"
