"""`holdfast-server gc` and `fsck` and the schedule, on real stores."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import holdfast

from tests.support import folder_objects, servers
from tests.support.damage import damage_newest
from tests.support.servers import server
from tests.support.watched import serving_watched

FORMAT = holdfast.Format("test", 1)
KEEP_TWO = '{"*": {"keep_last": 2}}'


def run(*arguments: str, expect: int = 0) -> list[str]:
    done = servers.run(*arguments)
    assert done.returncode == expect, done.stderr
    return done.stdout.splitlines()


def gc(store_url: str, *arguments: str) -> dict:
    return json.loads(run("gc", "--store", store_url, "--retention", KEEP_TWO, *arguments)[-1])


def test_gc_retires_and_removes_and_fsck_has_no_findings_afterwards(store_url):
    data = bytes(range(256)) * 1000
    with server(store_url, "--grace-seconds", "0") as target, holdfast.Client(target) as client:
        for _ in range(6):
            saved = client.save("n", "w", data, format=FORMAT)
        client.save("n", "gone", data, format=FORMAT)
        client.delete_workflow("n", "gone")
        assert gc(store_url, "--dry-run")["retired"] == 4
        assert gc(store_url)["retired"] == 4
        for _ in range(3):
            gc(store_url)
        assert [each.revision for each in client.list("n", "w")] == [6, 5]
        assert client.load("n", "w", saved.checkpoint_id).data == data
        assert client.save("n", "w", data, format=FORMAT).revision > 6
    (summary,) = run("fsck", "--store", store_url)
    figures = json.loads(summary)
    assert (figures["workflows"], figures["checkpoints"], figures["orphans"], figures["findings"]) == (2, 3, 0, 0)


def test_fsck_names_a_damaged_object_and_exits_with_1(tmp_path):
    with server(tmp_path.as_uri()) as target, holdfast.Client(target) as client:
        saved = client.save("n", "w", os.urandom(100_000), format=FORMAT)
    damage_newest(tmp_path)
    finding, summary = run("fsck", "--store", tmp_path.as_uri(), expect=1)
    assert saved.checkpoint_id in finding
    assert "digest" in finding
    assert json.loads(summary)["findings"] == 1
    (summary,) = run("fsck", "--quick", "--store", tmp_path.as_uri())
    assert json.loads(summary)["findings"] == 0


async def test_servers_collect_on_a_schedule_while_they_serve(tmp_path):
    settings = {"grace_seconds": 0, "gc_interval_seconds": 0.05, "retention": {"n": {"keep_last": 1}}}
    async with (
        serving_watched(tmp_path, **settings) as first,
        serving_watched(tmp_path, **settings),
        holdfast.AsyncClient(first.target, timeout=20) as client,
    ):
        for number in range(20):
            await save_until_known(partial(client.save, "n", "w"), bytes([number]) * 100_000)
        while len(folder_objects.keys(first.folder, "ns/n/wf/w/blob/*")) > 1:
            assert (await client.load("n", "w")).data == bytes([19]) * 100_000
            await asyncio.sleep(0.05)
        assert (await client.load("n", "w")).data == bytes([19]) * 100_000


async def save_until_known(save: Callable[..., Awaitable[holdfast.Checkpoint]], data: bytes) -> holdfast.Checkpoint:
    """Save once more if the outcome is unknown: every save takes longer than a grace of 0 seconds.

    A collection may append an entry and remove it between the save's look at the head and its commit.
    """
    while True:
        with suppress(holdfast.CommitUnknownError):
            return await save(data, format=FORMAT)


async def test_a_handle_can_save_after_scheduled_collections(tmp_path):
    settings = {"grace_seconds": 0, "gc_interval_seconds": 0.05, "retention": {"n": {"keep_last": 1}}}
    async with (
        serving_watched(tmp_path, **settings) as served,
        holdfast.AsyncClient(served.target, timeout=20) as client,
    ):
        handle = client.workflow("n", "w")
        await handle.acquire_writer()
        for number in range(4):
            saved = await save_until_known(handle.save, bytes([number]))
            # A collection has a checkpoint to retire after every save but the first.
            if number:
                await collected(client, saved.revision)
        assert (await client.load("n", "w")).data == b"\3"


async def collected(client: holdfast.AsyncClient, revision: int) -> None:
    """Wait until a collection has appended an entry after a revision."""
    while True:
        async for each in client.list_workflows("n"):
            if each.head_revision > revision:
                return
        await asyncio.sleep(0.02)


def test_a_handle_can_save_after_gc_by_command(tmp_path):
    with server(tmp_path.as_uri(), "--grace-seconds", "0") as target, holdfast.Client(target) as client:
        handle = client.workflow("n", "w")
        for number in range(4):
            handle.save(bytes([number]) * 100_000, format=FORMAT)
            gc(tmp_path.as_uri())
        saved = handle.save(b"x", format=FORMAT)
        assert saved.revision > 5
        assert client.load("n", "w").checkpoint_id == saved.checkpoint_id


async def test_an_old_store_keeps_its_grace(tmp_path):
    async with serving_watched(tmp_path, grace_seconds=5):
        pass
    async with serving_watched(tmp_path, grace_seconds=7):
        pass
    manifest = json.loads(folder_objects.read(tmp_path / "store", "holdfast.json"))
    assert manifest["graceSeconds"] == 5


def test_a_command_that_cannot_use_the_store_exits_with_2(tmp_path):
    with server(tmp_path.as_uri()):
        pass
    folder_objects.write(tmp_path, "holdfast.json", b"no manifest")
    for command in ("gc", "fsck"):
        assert run(command, "--store", tmp_path.as_uri(), expect=2) == []
