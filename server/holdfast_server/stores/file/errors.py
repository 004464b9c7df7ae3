"""Errors of SQLite and of the file system as errors of a store, in words."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast_server.stores.base import (
    NothingWrittenError,
    StoreAccessDeniedError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)

_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP})
_ABSENCES = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_WORDS = {
    errno.EACCES: "refuses access",
    errno.EPERM: "refuses access",
    errno.EROFS: "is read-only",
    errno.ELOOP: "contains a symbolic link, which is not followed",
    errno.ENOSPC: "cannot be written to: the disk is full",
    errno.EDQUOT: "cannot be written to: the disk quota is used up",
    errno.EIO: "failed: the disk reported an I/O error",
    errno.EMFILE: "cannot be used: the server has too many open files",
    errno.ENFILE: "cannot be used: the machine has too many open files",
    errno.ENOMEM: "cannot be used: the machine is out of memory",
    errno.ENAMETOOLONG: "cannot be used: its path is too long",
}
_DATABASE_WORDS = {
    sqlite3.SQLITE_BUSY: "is in use by another process, which does not give it free",
    sqlite3.SQLITE_LOCKED: "is in use by another process, which does not give it free",
    sqlite3.SQLITE_PROTOCOL: "is in use by another process, which does not give it free",
    sqlite3.SQLITE_FULL: "cannot be written to: the disk is full",
    sqlite3.SQLITE_IOERR: "failed: the disk reported an I/O error",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_PERM: "refuses access",
    sqlite3.SQLITE_AUTH: "refuses access",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_NOMEM: "cannot be used: the machine is out of memory",
    sqlite3.SQLITE_CORRUPT: "has a damaged page",
    sqlite3.SQLITE_NOTADB: "is damaged: it is not a database",
}
_DATABASE_REFUSALS = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})
_DAMAGES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_CODE_OF_KIND = 0xFF
# Python's module finds this itself, so that the error has no code.
_NOT_TEXT = "Could not decode to UTF-8"


@contextmanager
def mapped(where: str, *, may_be_written: bool = False) -> Iterator[None]:
    """Raise the errors of SQLite and of the file system in the block as errors of a store.

    Args:
        where: the path, for operators.
        may_be_written: whether a write that fails in the block may take effect, now or after a crash.

    """
    try:
        yield
    except sqlite3.Error as error:
        raise of_database(error, where, may_be_written=may_be_written) from error
    except OSError as error:
        raise of_errno(error.errno or 0, where, may_be_written=may_be_written) from error


def kind_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, such as `sqlite3.SQLITE_BUSY`; -1 if the error is not SQLite's own."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else code & _CODE_OF_KIND


def of_database(error: sqlite3.Error, where: str, *, may_be_written: bool) -> StoreError:
    """Return the error of a store for one of SQLite."""
    kind = kind_of(error)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    message = f"the store's database {_DATABASE_WORDS.get(kind, 'failed')} ({name})"
    detail = f"{where}: {error} ({name})"
    if kind in _DAMAGES:
        return StoreDamagedError(message, detail=detail)
    if str(error).startswith(_NOT_TEXT):
        return StoreDamagedError("a row of the store's database is damaged", detail=detail)
    # The frame that commits a transaction is the last one to be written: without room for it nothing is committed.
    if kind == sqlite3.SQLITE_FULL:
        return StoreFullError(message, detail=detail)
    if may_be_written:
        return StoreUnavailableError(message, detail=detail)
    return _class_of(kind in _DATABASE_REFUSALS)(message, detail=detail)


def of_errno(number: int, where: str, *, may_be_written: bool = False) -> StoreError:
    """Return the error of a store for one of the file system."""
    message = _message(number)
    detail = f"{where}: {os.strerror(number)}"
    if may_be_written:
        return StoreUnavailableError(message, detail=detail)
    if number in _FULL:
        return StoreFullError(message, detail=detail)
    return _class_of(number in _REFUSALS)(message, detail=detail)


def _class_of(is_refusal: bool) -> type[StoreError]:
    return StoreAccessDeniedError if is_refusal else NothingWrittenError


def _message(number: int) -> str:
    if number in _ABSENCES:
        return "the store's folder is gone"
    name = errno.errorcode.get(number, "unknown error")
    return f"the store's folder {_WORDS.get(number, 'failed')} ({name})"
