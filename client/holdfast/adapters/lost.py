"""Errors after which a database cannot be used any more, unlike those of one value in it.

An import or export ends with such an error. Otherwise each further item would be reported as unreadable.
"""

import errno
import socket

from holdfast.moving import SourceError

# The names that drivers give to errors of a connection, by PEP 249, and to those of pools.
_OF_CONNECTION = {"OperationalError", "InterfaceError", "TimeoutError"}
# Of SQL: a lost connection, a server that ends, lacks a resource or has a broken disk, and a missing permission.
_STATES = ("08", "53", "57P", "58", "25006", "42501")
# Of SQLite, without the details in the higher bits: busy, locked, out of memory, read-only, broken, full, cannot open.
_CODES = {5, 6, 7, 8, 10, 13, 14}
# Of MySQL's clients.
_CLIENT_ERRORS = range(2000, 3000)
_OF_SYSTEM = {
    None,
    errno.EDQUOT,
    errno.EHOSTUNREACH,
    errno.EIO,
    errno.EMFILE,
    errno.ENETUNREACH,
    errno.ENFILE,
    errno.ENOSPC,
    errno.EROFS,
}


def require_usable(name: str, error: BaseException) -> None:
    """Check that an error says something about a value, and not about the database.

    Args:
        name: the database's name in errors.
        error: the error of a read or write.

    Raises:
        SourceError: the database cannot be used any more.

    """
    if is_lost(error):
        raise SourceError(f"{name} cannot be used any more: {type(error).__name__}: {error}"[:1000]) from error


def is_lost(error: BaseException) -> bool:
    """Return whether a database cannot be used any more after an error."""
    original = getattr(error, "orig", None)
    if isinstance(original, BaseException):
        # SQLAlchemy has wrapped it.
        return bool(getattr(error, "connection_invalidated", False)) or is_lost(original)
    if isinstance(error, OSError):
        return isinstance(error, ConnectionError | TimeoutError | socket.gaierror) or error.errno in _OF_SYSTEM
    if type(error).__module__ == "sqlite3":
        # Text that is not UTF-8 has no code.
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CODES
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str):
        return state.startswith(_STATES)
    if error.args and isinstance(error.args[0], int):
        return error.args[0] in _CLIENT_ERRORS
    return any(kind.__name__ in _OF_CONNECTION for kind in type(error).__mro__)
