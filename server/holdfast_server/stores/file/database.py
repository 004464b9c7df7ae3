"""The database of a folder store: its schema, and connections to it.

`objects` has a small row for each object, so that a listing reads few pages; `contents` has the bytes of small objects,
each in one row, or in one for its head and one for the rest. A large object has the name of its file instead.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from holdfast_server.stores.base import StoreSettingsError, StoreUnavailableError
from holdfast_server.stores.file.errors import kind_of, mapped
from holdfast_server.stores.file.folder import DATABASE, WAL, StoreFolder

# "HFST", as `file` and other tools of SQLite see it.
_APPLICATION_ID = 0x48465354
_VERSION = 2
# Of a database that may not have its name after a power cut.
_UNFINISHED = 0
_SCHEMA = (
    "CREATE TABLE objects (key TEXT PRIMARY KEY, size INTEGER NOT NULL, modified REAL NOT NULL, "
    "content INTEGER, rest INTEGER, file TEXT) WITHOUT ROWID",
    "CREATE TABLE contents (id INTEGER PRIMARY KEY, value BLOB NOT NULL)",
    "CREATE UNIQUE INDEX files ON objects (file) WHERE file IS NOT NULL",
)
# More than the statements of a writer, which differ by the number of their rows.
_CACHED_STATEMENTS = 256
_LOG_FILE_BYTES = 4 << 20
# Another process holds the write lock for a few milliseconds, unless it was stopped.
_BUSY_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.0002
_LONGEST_PAUSE_SECONDS = 0.002


def connect(folder: StoreFolder) -> sqlite3.Connection:
    """Return a connection to the database of a folder.

    Raises:
        sqlite3.Error: it cannot be opened.

    """
    connection = sqlite3.connect(
        folder.database, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=_CACHED_STATEMENTS
    )
    for pragma in (
        "synchronous = FULL",
        # Checkpoints must not run beside each other, see `checkpoints`.
        "wal_autocheckpoint = 0",
        # The file of a log that has grown is shortened when the log begins again.
        f"journal_size_limit = {_LOG_FILE_BYTES}",
        # Deleted bytes are overwritten.
        "secure_delete = ON",
        "cell_size_check = ON",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def open_database(folder: StoreFolder) -> sqlite3.Connection:
    """Open the database of a folder, or create it, and make sure that everything that can be read is durable.

    Raises:
        StoreSettingsError: the file is a database of another program or of a newer version.
        StoreError: it cannot be used.

    """
    with folder.locked(), mapped(folder.database):
        if not folder.has_file(DATABASE) or not _is_finished(folder):
            _make(folder)
        folder.note_database()
        connection = connect(folder)
        try:
            _use_log(connection)
            # Creates the file of the log.
            connection.execute("SELECT 1 FROM objects LIMIT 1")
            folder.sync()
            if _state(connection)[1] == _UNFINISHED:
                begin(connection)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
    return connection


def begin(connection: sqlite3.Connection) -> None:
    """Begin a write transaction. Waits for one of another process.

    Raises:
        sqlite3.Error: another process does not end its transaction, or the database cannot be used.

    """
    pause = _FIRST_PAUSE_SECONDS
    ends = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if kind_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        else:
            return


def commit_nothing(connection: sqlite3.Connection) -> None:
    """Commit a transaction that writes a page and changes nothing.

    Raises:
        sqlite3.Error: the database cannot be written to.

    """
    begin(connection)
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")


@contextmanager
def rolled_back(connection: sqlite3.Connection) -> Iterator[None]:
    """Begin a write transaction, and roll it back at the end of the block."""
    begin(connection)
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def _is_finished(folder: StoreFolder) -> bool:
    """Check the database that is there, and make its log durable.

    Returns:
        Whether it was finished. If not, it holds nothing, and its name may not be durable.

    Raises:
        StoreSettingsError: it is a database of another program or of a newer version.
        sqlite3.Error: it cannot be used.

    """
    with closing(connect(folder)) as connection:
        application_id, version = _state(connection)
        if application_id != _APPLICATION_ID and folder.has_bytes(DATABASE):
            raise StoreSettingsError(
                "the database in the store's folder is not one of Holdfast", detail=folder.database
            )
        if version not in (_UNFINISHED, _VERSION):
            raise StoreSettingsError(
                f"the store's database has version {version}, this server reads version {_VERSION}",
                detail=folder.database,
            )
        if version == _VERSION and folder.has_bytes(WAL):
            _settle(folder, connection)
        return version == _VERSION


def _settle(folder: StoreFolder, connection: sqlite3.Connection) -> None:
    """Make a write-ahead log durable that another process may have left.

    A process that was killed between writing a transaction and syncing it leaves one that readers see from then on and
    that a power cut would still undo. A sync alone would not do: after a failed one the kernel may believe that the
    pages are on disk. Then the log is emptied if no other process reads it, since it may contain erased bytes. Closing
    the last connection removes it, so that the next log has a name that this process makes durable.
    """
    with rolled_back(connection):
        folder.rewrite_wal()
    commit_nothing(connection)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _use_log(connection: sqlite3.Connection) -> None:
    """Let a database have a write-ahead log, unless it has one.

    Raises:
        StoreUnavailableError: that failed. SQLite raises no error then, and would go on with another kind of journal,
            whose end it does not make durable.
        sqlite3.Error: the database cannot be used.

    """
    [mode] = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreUnavailableError("the store's database cannot have a write-ahead log")


def _make(folder: StoreFolder) -> None:
    """Make a database under another name and rename it, so that no crash leaves half of one.

    It is finished by a transaction after the rename is durable. Until then it is made again by whoever finds it.
    """
    folder.begin_database()
    with closing(sqlite3.connect(folder.new_database, isolation_level=None)) as connection:
        _use_log(connection)
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        # The end of the connection would do so as well, and ignore a sync that fails.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    folder.finish_database()


def _state(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the application id and the version of a database."""
    [application_id] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    return application_id, version
