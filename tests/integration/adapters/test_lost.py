"""Errors of databases that end an import, unlike those of one value."""

import errno
import sqlite3
from contextlib import closing

import psycopg
import pytest
from holdfast.adapters.lost import is_lost, require_usable
from holdfast.moving import SourceError


class WrappedError(Exception):
    """As SQLAlchemy wraps errors of drivers."""

    def __init__(self, orig, *, connection_invalidated=False):
        super().__init__(str(orig))
        self.orig = orig
        self.connection_invalidated = connection_invalidated


class OperationalError(Exception):
    """As of MySQL's clients."""


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("the connection is lost"),
        psycopg.InterfaceError("the connection is closed"),
        psycopg.errors.AdminShutdown(),
        psycopg.errors.DiskFull(),
        psycopg.errors.InsufficientPrivilege(),
        psycopg.errors.ReadOnlySqlTransaction(),
        WrappedError(ValueError(), connection_invalidated=True),
        WrappedError(psycopg.OperationalError()),
        OperationalError(2013, "Lost connection to MySQL server during query"),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        OSError("Multiple exceptions: refused, refused"),
        OSError(errno.ENOSPC, "No space left on device"),
        TimeoutError(),
    ],
    ids=repr,
)
def test_a_database_that_is_gone_ends_the_import(error):
    with pytest.raises(SourceError, match=f"the saver cannot be used any more: {type(error).__name__}"):
        require_usable("the saver", error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad value"),
        FileNotFoundError(errno.ENOENT, "no such file"),
        sqlite3.OperationalError("Could not decode to UTF-8 column"),
        psycopg.errors.ProgramLimitExceeded(),
        psycopg.errors.SerializationFailure(),
        psycopg.DataError(),
        WrappedError(ValueError()),
        OperationalError(1205, "Lock wait timeout exceeded"),
    ],
    ids=repr,
)
def test_an_error_of_one_value_does_not(error):
    require_usable("the saver", error)


def test_sqlite_says_by_its_codes_what_failed(tmp_path):
    with closing(sqlite3.connect(tmp_path / "x.db")) as first, closing(sqlite3.connect(tmp_path / "x.db")) as second:
        first.execute("CREATE TABLE t (x)")
        second.execute("PRAGMA busy_timeout = 0")
        first.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError) as locked:
            second.execute("INSERT INTO t VALUES (1)")
        first.rollback()
        with pytest.raises(sqlite3.OperationalError) as missing:
            second.execute("SELECT x FROM missing")
    assert is_lost(locked.value)
    assert not is_lost(missing.value)
