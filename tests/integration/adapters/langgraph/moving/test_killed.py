"""Imports that are killed and begin again."""

import sqlite3
import uuid
from contextlib import closing

import holdfast
import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from tests.integration.adapters import kill_points, killing
from tests.integration.adapters.langgraph.moving.graphs import Threads

PROGRAM = "tests.integration.adapters.programs.langgraph_import"


@pytest.fixture
async def source(tmp_path):
    path = tmp_path / "checkpoints.db"
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        threads = Threads(SqliteSaver(connection), is_asynchronous=False)
        for thread_id in ("t", "u"):
            await threads.play(thread_id)
    return f"sqlite:///{path}"


@pytest.fixture
def run(source, target, tmp_path, monkeypatch):
    """Return a function that imports the source into a new namespace, and returns the run and the namespace."""

    def run(kill_at=0):
        namespace = uuid.uuid4().hex
        monkeypatch.setenv("HOLDFAST_TEST_SOURCE", source)
        monkeypatch.setenv("HOLDFAST_TEST_NAMESPACE", namespace)
        return killing.run(PROGRAM, target, tmp_path / namespace, kill_at=kill_at), namespace

    return run


async def test_an_import_that_is_killed_anywhere_and_repeated_ends_with_the_same_content(run, target):
    calm, calmly = run()
    async with holdfast.AsyncClient(target) as client:
        expected = await _content(client, calmly)
        assert len(expected) > 20
        for kill_at in kill_points.points(calm):
            killed, namespace = run(kill_at)
            assert killed.kills == 1
            assert await _content(client, namespace) == expected, kill_at


async def _content(client, namespace):
    return [
        (
            each.info.workflow_id,
            each.checkpoint_id,
            each.info.parent_id,
            each.info.labels,
            each.parts,
            sorted((record.key, record.data) for record in each.records),
        )
        async for each in client.history(namespace, records=True)
    ]
