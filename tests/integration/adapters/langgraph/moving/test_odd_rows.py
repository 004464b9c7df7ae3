"""Rows that LangGraph's savers do not write: each fails its thread alone, by name, and a dry run finds the same."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import holdfast
import pytest

from tests.support.required import require_engine

require_engine("langgraph.checkpoint.sqlite")

from holdfast.adapters.langgraph.moving import tables  # noqa: E402
from holdfast.adapters.langgraph.moving.by_name import import_from  # noqa: E402
from holdfast.moving import SourceError  # noqa: E402
from langgraph.checkpoint.memory import InMemorySaver  # noqa: E402
from langgraph.checkpoint.sqlite import SqliteSaver  # noqa: E402

from tests.integration.adapters.langgraph.savers import checkpoint, config  # noqa: E402


@pytest.fixture
def imported(target, namespace, tmp_path):
    """Return a function that imports the file, and checks that a dry run finds the same."""

    async def imported():
        async def run(is_dry_run):
            async with holdfast.AsyncClient(target, timeout=20) as client:
                source = f"sqlite:///{tmp_path}/checkpoints.db"
                options = {"threads": None, "prefix": "", "progress": None}
                return await import_from(client, namespace, source, None, is_dry_run=is_dry_run, **options)

        dry, report = await run(True), await run(False)
        problems = [
            [(moved.name, moved.problem.reason, moved.problem.message) for moved in each.problems]
            for each in (dry, report)
        ]
        assert problems[0] == problems[1]
        assert replace(report, verified=0, problems=()) == replace(dry, problems=())
        return report

    return imported


@pytest.fixture
def file(tmp_path):
    with closing(sqlite3.connect(tmp_path / "checkpoints.db", check_same_thread=False)) as connection:
        saver = SqliteSaver(connection)
        for thread_id in ("before", "odd", "then"):
            written = saver.put(config(thread_id), checkpoint("1", x=1), {}, {"x": 1})
            saver.put_writes(written, [("x", 2)], "task")
    return tmp_path / "checkpoints.db"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("thread_id", "CAST('odd' AS BLOB)", "the id of the thread must be text, not bytes b'odd'"),
        ("thread_id", "CAST(x'ff' AS TEXT)", "the id of a thread must be Unicode text"),
        ("checkpoint_id", "CAST('1' AS BLOB)", "the id of a checkpoint must be Unicode text, not b'1'"),
        ("checkpoint_id", "CAST(x'ff' AS TEXT)", "the id of a checkpoint must be Unicode text"),
        ("checkpoint_id", "'2'", "checkpoint 2 contains checkpoint '1'"),
        ("checkpoint_ns", "CAST('n' AS BLOB)", "the id of a namespace must be Unicode text, not b'n'"),
        ("parent_checkpoint_id", "CAST('0' AS BLOB)", "the id of a parent must be Unicode text, not b'0'"),
        ("parent_checkpoint_id", "printf('%.300c', '0')", "the id has 300 bytes, Holdfast's limit is 256"),
        ("checkpoint", "NULL", "checkpoint 1 cannot be read"),
        ("checkpoint", "'text'", "checkpoint 1 cannot be read"),
        ("checkpoint", "x'ff'", "checkpoint 1 cannot be read"),
        ("type", "NULL", "checkpoint 1 cannot be read"),
    ],
)
async def test_a_row_that_cannot_be_read_fails_its_thread_alone(imported, file, column, value, message):
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"UPDATE checkpoints SET {column} = {value} WHERE thread_id = 'odd'")
    report = await imported()
    assert (report.items, report.failed, report.written) == (3, 1, 2)
    [moved] = report.problems
    assert moved.problem.reason == "UNREADABLE"
    assert message in moved.problem.message


async def test_a_checkpoint_whose_id_is_too_long_fails_its_thread_alone(imported, file):
    with closing(sqlite3.connect(file, check_same_thread=False)) as connection:
        SqliteSaver(connection).put(config("long"), checkpoint("ü" * 100, x=1), {}, {"x": 1})
    report = await imported()
    assert [moved.name for moved in report.problems] == ["long"]
    assert "the id has 600 bytes, Holdfast's limit is 256" in report.problems[0].problem.message


async def test_ids_of_all_kinds_are_listed_once_on_any_number_of_pages(imported, file, monkeypatch):
    monkeypatch.setattr(tables, "_PAGE", 1)
    with closing(sqlite3.connect(file)) as connection, connection:
        for odd in ("CAST('odd' AS BLOB)", "CAST('odd2' AS BLOB)", "CAST(x'61ff' AS TEXT)", "CAST(x'62ff' AS TEXT)"):
            connection.execute(
                "INSERT INTO checkpoints(thread_id, checkpoint_ns, checkpoint_id, type, checkpoint, metadata) "
                f"SELECT {odd}, checkpoint_ns, checkpoint_id, type, checkpoint, metadata FROM checkpoints "
                "WHERE thread_id = 'odd'"
            )
    report = await imported()
    assert (report.items, report.failed, report.written) == (7, 4, 3)


async def test_a_thread_in_memory_whose_id_is_not_text_fails_alone(target, namespace):
    from holdfast.adapters.langgraph import HoldfastSaver  # noqa: PLC0415
    from holdfast.adapters.langgraph.moving.calls import import_threads  # noqa: PLC0415

    source = InMemorySaver()
    for thread_id in (7, "7"):
        source.put(config(thread_id), checkpoint("1", x=1), {}, {"x": 1})
    async with HoldfastSaver.from_target(target, namespace=namespace) as saver:
        report = await import_threads(source, saver)
    assert (report.items, report.failed) == (2, 1)


async def test_a_saver_without_tables_is_an_error(target, namespace, tmp_path):
    from holdfast.adapters.langgraph import HoldfastSaver  # noqa: PLC0415
    from holdfast.adapters.langgraph.moving.calls import import_threads  # noqa: PLC0415

    with closing(sqlite3.connect(tmp_path / "empty.db", check_same_thread=False)) as connection:
        source = SqliteSaver(connection)
        source.is_setup = True
        async with HoldfastSaver.from_target(target, namespace=namespace) as saver:
            with pytest.raises(SourceError, match="cannot list its checkpoints: OperationalError: no such table"):
                await import_threads(source, saver)
