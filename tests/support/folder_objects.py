"""The objects of a folder store, read and changed past the store, as damage or an intruder would."""

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

_FIND = "SELECT content, rest, file FROM objects WHERE key = ?"


@contextmanager
def database(folder: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to the database of a store; what it changed is committed at the end."""
    with closing(sqlite3.connect(folder / "holdfast.db", timeout=20)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        with connection:
            yield connection


def keys(folder: Path, pattern: str) -> list[str]:
    """Return the keys that match a shell pattern, whose `*` also matches slashes, in order."""
    with database(folder) as connection:
        found = connection.execute("SELECT key FROM objects ORDER BY key").fetchall()
    return [key for (key,) in found if fnmatchcase(key, pattern)]


def by_age(folder: Path, pattern: str) -> list[str]:
    """Return the keys that match a shell pattern, the newest object last."""
    with database(folder) as connection:
        found = connection.execute("SELECT key FROM objects ORDER BY modified").fetchall()
    return [key for (key,) in found if fnmatchcase(key, pattern)]


def read(folder: Path, key: str) -> bytes:
    """Return the bytes of an object."""
    with database(folder) as connection:
        content, rest, file = connection.execute(_FIND, (key,)).fetchone()
        if file is not None:
            return (folder / "blobs" / file).read_bytes()
        rows = connection.execute("SELECT value FROM contents WHERE id IN (?, ?) ORDER BY id", (content, rest))
        return b"".join(value for (value,) in rows)


def write(folder: Path, key: str, data: bytes) -> None:
    """Put other bytes in the place of those of an object, or create it."""
    with database(folder) as connection:
        row = connection.execute(_FIND, (key,)).fetchone()
        if row is None:
            content = connection.execute("INSERT INTO contents (value) VALUES (?)", (data,)).lastrowid
            connection.execute(
                "INSERT INTO objects (key, size, modified, content) VALUES (?, ?, unixepoch(), ?)",
                (key, len(data), content),
            )
            return
        content, rest, file = row
        connection.execute("UPDATE objects SET size = ?, rest = NULL WHERE key = ?", (len(data), key))
        connection.execute("DELETE FROM contents WHERE id = ?", (rest,))
        if file is None:
            connection.execute("UPDATE contents SET value = ? WHERE id = ?", (data, content))
        else:
            (folder / "blobs" / file).write_bytes(data)


def remove(folder: Path, key: str) -> None:
    """Remove an object."""
    with database(folder) as connection:
        content, rest, _ = connection.execute(_FIND, (key,)).fetchone() or (None, None, None)
        connection.execute("DELETE FROM contents WHERE id IN (?, ?)", (content, rest))
        connection.execute("DELETE FROM objects WHERE key = ?", (key,))


def stored_bytes(folder: Path, pattern: str = "*") -> int:
    """Return how many bytes the objects that match a shell pattern have together."""
    with database(folder) as connection:
        found = connection.execute("SELECT key, size FROM objects").fetchall()
    return sum(size for key, size in found if fnmatchcase(key, pattern))


def objects_with(folder: Path, content: bytes, pattern: str = "*") -> list[str]:
    """Return the keys of the objects that match a shell pattern and contain some bytes."""
    return [key for key in keys(folder, pattern) if content in read(folder, key)]


def files_with(folder: Path, content: bytes) -> list[str]:
    """Return the files of a store that contain some bytes.

    Another process reads them: one that has a database open must not open its file a second time.
    """
    command = ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", content.decode(), folder]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert result.returncode in (0, 1)
    return result.stdout.splitlines()
