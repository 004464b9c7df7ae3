"""`holdfast usage`."""

import json
from argparse import Namespace

import holdfast
import pytest
from holdfast import UsagePage
from holdfast.cli import usage

from tests.support.damage import damage_marker

FORMAT = holdfast.Format("f", 1)


@pytest.fixture
async def three(client):
    """Three workflows: the second one takes the most, the third one has the most checkpoints."""
    sizes = {"a": [10], "b": [900_000], "c": [10, 20, 30]}
    for name, several in sizes.items():
        for size in several:
            await client.save("n", name, bytes(size), format=FORMAT)
    return client


def columns(out):
    lines = [line.split("  ") for line in out.decode().splitlines()]
    return [[cell.strip() for cell in line if cell] for line in lines]


@pytest.mark.usefixtures("three")
async def test_the_largest_workflows_come_first_and_a_total_last(run):
    code, out, err = await run("usage", "n", "--sort", "size")
    assert (code, err) == (0, "")
    rows = columns(out)
    assert rows[0][:4] == ["workflow", "checkpoints", "size", "stored"]
    assert [row[:3] for row in rows[1:]] == [
        ["b", "1", "900.0 kB"],
        ["c", "3", "60 bytes"],
        ["a", "1", "10 bytes"],
        ["total: 3 workflows", "5", "900.1 kB"],
    ]
    for sort, expected in {"checkpoints": "cab", "objects": "cab", "workflow": "abc"}.items():
        _, out, _ = await run("usage", "n", "--sort", sort)
        assert [row[0] for row in columns(out)[1:-1]] == list(expected)
    _, out, _ = await run("usage", "n", "--limit", "1", "--prefix", "c")
    assert [row[0] for row in columns(out)[1:]] == ["c", "total: 1 workflow"]
    _, out, _ = await run("usage", "n", "--limit", "1", "--sort", "checkpoints")
    assert [row[0] for row in columns(out)[1:]] == ["c", "total: 3 workflows, 1 shown"]


@pytest.mark.usefixtures("three")
async def test_one_workflow_is_shown_without_a_total_and_stored_only_without_checkpoints(run):
    code, out, _ = await run("usage", "n", "b", "--stored-only")
    assert code == 0
    assert [row[0] for row in columns(out)] == ["workflow", "b"]
    assert columns(out)[0] == ["workflow", "stored", "records", "indexes", "objects"]
    code, _, err = await run("usage", "n", "--stored-only", "--sort", "deleted")
    assert (code, err) == (2, "holdfast: --sort deleted needs what --stored-only leaves out\n")
    code, _, err = await run("usage", "n", "none")
    assert code == 3
    assert "WORKFLOW_NOT_FOUND" in err


@pytest.mark.usefixtures("three")
async def test_json_has_the_workflows_and_their_total(run):
    code, out, err = await run("usage", "n", "--json", "--limit", "2")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert len(found["workflows"]) == 2
    assert found["workflows"][0]["stored_bytes"] >= found["workflows"][1]["stored_bytes"]
    assert (found["total"]["workflows"], found["total"]["size_bytes"]) == (3, 900_070)
    assert (found["namespace"], found["damaged_listings"]) == (None, 0)
    code, out, _ = await run("usage", "empty", "--json")
    assert (code, json.loads(out)["total"]["workflows"]) == (0, 0)


async def test_damage_is_noted(run, client, served):
    for _ in range(2):
        await client.save("n", "w", b"x", format=FORMAT)
    damage_marker(served.folder, newer=0)
    code, out, err = await run("usage", "n")
    assert code == 0
    assert columns(out)[1][:2] == ["w", "1"]
    assert "because of damage (commit markers: 1, listings: 0)" in err


@pytest.mark.usefixtures("three")
async def test_a_terminal_shows_progress_and_the_table(at_terminal):
    code, shown = await at_terminal("usage", "n")
    assert code == 0
    assert b"total: 3 workflows" in shown


def test_a_server_that_repeats_a_page_token_does_not_hold_the_command():
    class Repeating:
        def usage_page(self, *_, **__):
            return UsagePage((), "again")

    given = Namespace(namespace="n", workflow="", prefix="", stored_only=False)
    with pytest.raises(holdfast.InternalError, match="the same page token twice"):
        list(usage._pages(Repeating(), given))
