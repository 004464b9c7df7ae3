"""The commands that import and export threads, with the databases that people have."""

import hashlib
import json
import os
import sqlite3
import stat
from contextlib import closing
from urllib.parse import quote

import psycopg
import pytest
from holdfast import AsyncClient
from holdfast.adapters.langgraph.moving.by_name import import_from
from holdfast.encryption import LocalKey
from holdfast.moving import SourceError
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from tests.integration.adapters.commands import run, run_anew
from tests.integration.adapters.langgraph.moving.graphs import Threads
from tests.integration.adapters.langgraph.savers import checkpoint, config
from tests.support.untouched import untouched
from tests.support.visible import require_sealed

MODULE = """
from contextlib import asynccontextmanager
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

in_memory = InMemorySaver()
number = 5
pickles = JsonPlusSerializer(pickle_fallback=True)

def opened():
    return AsyncSqliteSaver.from_conn_string("checkpoints.db")

async def awaited():
    return in_memory

def failing():
    raise ValueError("no configuration")

class Cipher:
    def encrypt(self, plaintext):
        return "rot", bytes(255 - each for each in plaintext)

    def decrypt(self, name, ciphertext):
        return bytes(255 - each for each in ciphertext)

def encrypted():
    from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
    return EncryptedSerializer(Cipher(), JsonPlusSerializer())
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "app.py").write_text(MODULE)
    return tmp_path


@pytest.fixture
def holdfast(target, namespace, folder):
    """Return a function that runs the command in a folder with a module, with the namespace."""

    def command(*arguments, code=0, options=()):
        return run(target, *arguments, "--namespace", namespace, *options, folder=folder, code=code)

    return command


@pytest.fixture
async def played(folder):
    """A database of sqlite with a thread."""
    path = folder / "checkpoints.db"
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        await Threads(SqliteSaver(connection), is_asynchronous=False).play("t")
    return path


async def test_a_file_of_sqlite_moves_in_unchanged_and_out_byte_for_byte(holdfast, played, folder):
    before = hashlib.sha256(played.read_bytes()).digest()
    played.chmod(stat.S_IRUSR)
    holdfast("import", "langgraph", "sqlite:///checkpoints.db")
    assert hashlib.sha256(played.read_bytes()).digest() == before
    holdfast("export", "langgraph", f"sqlite:///{folder}/copy.db")
    assert _rows(folder / "copy.db") == _rows(played)


@pytest.mark.parametrize(
    "name", ["a b.db", "what?#100%25&.db", "größe-世界.db", os.fsdecode(b"\xff.db"), "-wal", "file:x?mode=rw"]
)
async def test_a_file_of_any_name_moves_in_and_out_and_nothing_is_left_beside_it(holdfast, played, folder, name):
    source = folder / "source"
    source.mkdir()
    path = played.rename(source / name)
    with untouched(source):
        assert "1 thread" in holdfast("import", "langgraph", f"sqlite:///{quote(os.fsencode(path))}").stdout
    copy = f"copy of {name}"
    holdfast("export", "langgraph", f"sqlite:///{quote(os.fsencode(copy))}")
    assert _rows(folder / copy) == _rows(path)


async def test_what_a_key_encrypted_moves_out_by_this_key_only(holdfast, played, folder, target, namespace):
    LocalKey.generate().write(folder / "tenant.key")
    key = ("--encryption-key-file", str(folder / "tenant.key"))
    holdfast("import", "langgraph", "sqlite:///checkpoints.db", options=key)
    await require_sealed(target, namespace)
    holdfast("export", "langgraph", f"sqlite:///{folder}/copy.db", options=key)
    assert _rows(folder / "copy.db") == _rows(played)
    refused = holdfast("export", "langgraph", f"sqlite:///{folder}/none.db", code=8)
    shown = refused.stdout + refused.stderr
    assert "KEYRING_REQUIRED" in shown
    assert "--encryption-key-file FILE" in shown


async def test_a_database_of_an_older_version_is_read_and_not_migrated(holdfast, played):
    with closing(sqlite3.connect(played)) as connection:
        connection.execute("ALTER TABLE writes DROP COLUMN task_path")
        connection.execute("PRAGMA journal_mode = DELETE")
    before = played.read_bytes()
    assert "0 present" in holdfast("import", "langgraph", "sqlite:///checkpoints.db").stdout
    assert played.read_bytes() == before


async def test_a_database_of_postgres_moves_in_unchanged_and_out_again(holdfast, database, database_server):
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
        await Threads(saver, is_asynchronous=False).play("t")
    before = _tables(database)
    holdfast("import", "langgraph", database)
    assert _tables(database) == before
    copy = database_server.create_database()
    assert "0 verified" in holdfast("export", "langgraph", copy, "--dry-run").stdout
    assert _tables(copy) == {}
    holdfast("export", "langgraph", copy)
    with PostgresSaver.from_conn_string(database) as saver, PostgresSaver.from_conn_string(copy) as copied:
        ours, theirs = (Threads(each, is_asynchronous=False) for each in (saver, copied))
        assert await theirs.described("t") == await ours.described("t")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DELETE FROM checkpoint_migrations WHERE v > 5")
    assert "have version 5" in holdfast("import", "langgraph", database, code=2).stderr


async def test_a_database_that_goes_away_ends_the_import(database, target, namespace):
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
        await Threads(saver, is_asynchronous=False).play("t")

    def end(moved):
        if moved.written == 1:
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    async with AsyncClient(target, timeout=20) as client:
        with pytest.raises(SourceError, match="cannot be used any more"):
            await import_from(
                client, namespace, database, None, threads=None, prefix="", is_dry_run=False, progress=end
            )


def test_lines_of_json_have_each_thread_and_the_totals(holdfast, folder):
    _write(folder / "checkpoints.db", {"good": "x"}, {"bad": object})
    done = holdfast("import", "langgraph", "sqlite:///checkpoints.db", "--json", code=5)
    bad, good, total = map(json.loads, done.stdout.splitlines())
    assert good == {
        "item": {"name": "good", "read": 1, "written": 1, "present": 0, "verified": 1, "problem": None},
    }
    assert bad["item"]["name"] == "bad"
    assert bad["item"]["problem"]["reason"] == "UNREADABLE"
    assert "'pickle'" in bad["item"]["problem"]["message"].replace("pickle", "'pickle'")
    assert total == {"total": {"items": 2, "failed": 1, "read": 1, "written": 1, "present": 0, "verified": 1}}
    done = holdfast("import", "langgraph", "sqlite:///checkpoints.db", "--serde", "app:pickles")
    assert "2 threads" in done.stdout


def test_a_thread_with_other_content_ends_the_command_with_its_code(holdfast, folder):
    _write(folder / "checkpoints.db", {"t": "x"})
    holdfast("import", "langgraph", "sqlite:///checkpoints.db")
    (folder / "checkpoints.db").unlink()
    _write(folder / "checkpoints.db", {"t": "y"})
    done = holdfast("import", "langgraph", "sqlite:///checkpoints.db", code=6)
    assert "t: 1 read, 0 written, 0 present, 0 verified: OTHER_CONTENT: the target has checkpoint" in done.stdout
    assert "1 failed" in done.stdout


@pytest.mark.parametrize("encrypted_at", ["source", "both"])
def test_encrypted_values_need_their_serializer(holdfast, folder, encrypted_at, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    from app import encrypted  # noqa: PLC0415

    with closing(sqlite3.connect(folder / "checkpoints.db", check_same_thread=False)) as connection:
        saver = SqliteSaver(connection, serde=encrypted())
        saver.put(config(), checkpoint(x="secret"), {}, {})
    source = ("import", "langgraph", "sqlite:///checkpoints.db")
    assert "name the serializer that wrote it" in holdfast(*source, code=5).stdout
    holdfast(*source, "--serde", "app:encrypted")
    holdfast("export", "langgraph", "sqlite:///copy.db", "--serde", "app:encrypted")
    with closing(sqlite3.connect(folder / "copy.db", check_same_thread=False)) as connection:
        copy = SqliteSaver(connection, serde=encrypted())
        assert copy.get_tuple(config()).checkpoint["channel_values"] == {"x": "secret"}
        assert b"secret" not in (folder / "copy.db").read_bytes()


async def test_a_saver_of_a_module_is_opened_as_the_module_makes_it(holdfast, played):
    assert "1 thread: " in holdfast("import", "langgraph", "app:opened").stdout
    assert "0 threads: " in holdfast("import", "langgraph", "app:in_memory").stdout
    assert "0 threads: " in holdfast("import", "langgraph", "app:awaited").stdout
    assert "1 thread: " in holdfast("export", "langgraph", "app:InMemorySaver").stdout


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("checkpoints.db", "invalid name 'checkpoints.db': expected sqlite:///FILE, postgresql://HOST/DATABASE"),
        ("sqlite:///none.db", "there is no file 'none.db' in"),
        ("sqlite:///tmp", "a full path begins with four slashes"),
        ("sqlite://host/x", "invalid URL 'sqlite://host/x'"),
        ("sqlite:///app.py", "app.py is not a SQLite file: it begins with b'\\nfrom "),
        ("sqlite:///empty.db", "'empty.db' is empty"),
        ("postgresql://me:hidden@127.0.0.1:1/x", "postgresql://127.0.0.1:1/x: connection failed"),
        ("postgresql://me:hidden@127.0.0.1:1/x?options=-c%20a", "postgresql://127.0.0.1:1/x: connection failed"),
        ("POSTGRESQL://me:hidden@127.0.0.1:1/x", "postgresql://127.0.0.1:1/x: connection failed"),
        ("postgresql://me:hidden/den@127.0.0.1:1/x", "characters such as / ? # @ and % must be percent-encoded"),
        ("postgresql://me:9/hidden@127.0.0.1:1/x", "characters such as / ? # @ and % must be percent-encoded"),
        ("postgresql://me:hidden?den@127.0.0.1:1/x", "postgresql://127.0.0.1:1/x: connection failed"),
        ("postgresql://me:den@hidden@127.0.0.1:1/x", "characters such as / ? # @ and % must be percent-encoded"),
        ("postgresql://me:hidden%zz@127.0.0.1:1/x", "invalid URL of Postgres"),
        ("postgresql://me:hidden@[127.0.0.1:1/x", "invalid URL of Postgres"),
        ("postgresql://127.0.0.1:hidden/x", "invalid URL of Postgres"),
        ("postgresql+psycopg://me:hidden@127.0.0.1:1/x", "invalid name: expected sqlite:///FILE, postgresql:"),
        ("mysql://me:hidden@127.0.0.1:1/x", "invalid name: expected sqlite:///FILE, postgresql:"),
        ("host=127.0.0.1 password=hidden", "invalid name: expected sqlite:///FILE, postgresql:"),
        ("nothing:saver", "'nothing:saver' cannot be imported: No module named 'nothing'"),
        ("app:nothing", "'app:nothing' cannot be imported"),
        ("app:number", "'app:number' is int: expected a BaseCheckpointSaver"),
        ("app:failing", "'app:failing' cannot be opened: ValueError: no configuration"),
    ],
)
def test_a_source_that_cannot_be_opened_is_an_error_in_one_line(holdfast, folder, source, message):
    sqlite3.connect(folder / "empty.db").close()
    if source == "sqlite:///tmp":
        # A file that exists at the full path.
        source = f"sqlite://{folder}/app.py"
    done = holdfast("import", "langgraph", source, code=2)
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert message in line
    assert "hidden" not in line


@pytest.mark.parametrize(
    ("source", "package"),
    [
        ("sqlite:///checkpoints.db", "'langgraph-checkpoint-sqlite'"),
        ("postgresql://host/x", "'langgraph-checkpoint-postgres' 'psycopg[binary]'"),
    ],
)
def test_a_package_that_is_missing_is_named(folder, source, package):
    (folder / "sitecustomize.py").write_text(
        "import sys\nsys.modules['langgraph.checkpoint.sqlite'] = sys.modules['langgraph.checkpoint.postgres'] = None\n"
    )
    done = run_anew("import", "langgraph", source, "--namespace", "n", folder=folder, path=folder)
    assert done.returncode == 2
    assert f"install it with pip install {package}" in done.stderr


def test_a_file_that_is_no_database_is_not_written_to(holdfast, folder):
    (folder / "text.db").write_text("no database at all, but long enough to be one" * 100)
    assert "file is not a database" in holdfast("export", "langgraph", "sqlite:///text.db", code=2).stderr


def _write(path, *threads):
    """Write a checkpoint for each thread, whose value may need pickle."""
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        saver = SqliteSaver(connection, serde=JsonPlusSerializer(pickle_fallback=True))
        for of_thread in threads:
            for thread_id, value in of_thread.items():
                saver.put(config(thread_id), checkpoint("1", x=value), {}, {"x": 1})


def _rows(path):
    with closing(sqlite3.connect(path)) as connection:
        return [sorted(connection.execute(f"SELECT * FROM {name}")) for name in ("checkpoints", "writes")]


def _tables(url):
    with psycopg.connect(url, autocommit=True) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return {name: sorted(map(repr, connection.execute(f"SELECT * FROM {name}").fetchall())) for (name,) in names}
