"""Deletions of all workflows whose ids begin with a prefix."""

import asyncio
import random

import holdfast
import pytest
from holdfast import Record

from tests.support.damage import damage_newest_marker
from tests.support.watched import serving_watched

FORMAT = holdfast.Format("test", 1)
# Ids that a digest replaces in keys of the store, and characters that keys escape.
PIECES = ["a", "b", "ab", "#", "%", "~", ".", ":", "é", "a" * 150, "#" * 80]


async def save(client, workflow_id, data=b"x", **more):
    return await client.save("n", workflow_id, data, format=FORMAT, **more)


async def left(client, namespace="n"):
    return {each.workflow_id async for each in client.list_workflows(namespace) if each.checkpoint_revision}


@pytest.mark.asynchronous_only("many saves; the prefixes are the server's")
@pytest.mark.parametrize("seed", range(4))
async def test_exactly_the_workflows_with_the_prefix_are_deleted(client, seed):
    chance = random.Random(seed)
    ids = {"".join(chance.choices(PIECES, k=chance.randint(1, 4)))[:512] for _ in range(25)} - {".", ".."}
    for each in ids:
        await save(client, each)
    chosen = chance.choice(sorted(ids))
    prefix = chosen[: chance.randint(1, len(chosen))]
    doomed = {each for each in ids if each.startswith(prefix)}
    assert await client.delete_workflows("n", prefix) == len(doomed)
    assert await left(client) == ids - doomed
    assert await client.delete_workflows("n", prefix) == 0


async def test_records_are_deleted_with_their_workflows_and_a_deleted_workflow_can_begin_again(client):
    for each in ("t#a", "t#b", "t"):
        await save(client, each, checkpoint_id="c")
        await client.attach("n", each, "c", [Record("key", b"x")])
    assert await client.delete_workflows("n", "t#") == 2
    with pytest.raises(holdfast.CheckpointNotFoundError):
        await client.load("n", "t#a", "c")
    await save(client, "t#a", checkpoint_id="c", replace=True)
    assert (await client.load("n", "t#a", "c", records=True)).records == ()
    assert await left(client) == {"t", "t#a"}


async def test_an_empty_prefix_needs_all_and_all_needs_an_empty_prefix(client):
    for namespace in ("n", "other"):
        await client.save(namespace, "w", b"x", format=FORMAT)
    for prefix, deletes_all in (("", False), ("w", True)):
        with pytest.raises(holdfast.InvalidRequestError) as caught:
            await client.delete_workflows("n", prefix, all=deletes_all)
        assert caught.value.field_violations[0][0] == "workflow_id_prefix"
    for prefix in (None, b"w", 1):
        with pytest.raises(TypeError, match="prefix must be text"):
            await client.delete_workflows("n", prefix)
    assert await left(client) == {"w"}
    assert await client.delete_workflows("n", "", all=True) == 1
    assert await left(client, "other") == {"w"}


@pytest.mark.parametrize("prefix", ["a/b", "a\0", "x" * 513])
async def test_a_prefix_that_no_id_can_have_is_refused(client, prefix):
    with pytest.raises(holdfast.InvalidRequestError):
        await client.delete_workflows("n", prefix)


async def test_a_retried_request_does_not_delete_later_saves(client):
    for each in ("a", "b"):
        await save(client, each)
    assert await client.delete_workflows("n", "a", request_id="r") == 1
    await save(client, "a", b"new")
    assert await client.delete_workflows("n", "a", request_id="r") == 0
    assert (await client.load("n", "a")).data == b"new"


async def test_a_writer_that_has_saved_nothing_yet_conflicts_with_the_deletion(client):
    writer = await client.acquire_writer("n", "a")
    await client.delete_workflows("n", "a")
    with pytest.raises(holdfast.RevisionConflictError):
        await save(client, "a", epoch=writer.epoch, expected_revision=writer.revision)


async def test_a_deletion_of_a_deleted_workflow_appends_nothing(client):
    await save(client, "a")
    for _ in range(3):
        await client.delete_workflows("n", "a")
    assert [each.head_revision async for each in client.list_workflows("n")] == [2]


@pytest.mark.asynchronous_only("slow by design; pages renew the budget by generated code")
async def test_more_workflows_than_fit_into_a_deadline_are_deleted_page_by_page(connect, served):
    ids = [f"w{number}" for number in range(12)]
    async with connect(served.target, timeout=20) as client:
        for each in ids:
            await save(client, each)

        async def slow(operation, key):
            await asyncio.sleep(0.15 if operation == "put_if_absent" else 0)

        served.store.before = slow
        assert await client.delete_workflows("n", "w", timeout=1.2) == 12
        assert await left(client) == set()


async def test_a_damaged_workflow_is_named_and_all_others_are_deleted(connect, tmp_path):
    async with serving_watched(tmp_path) as served, connect(served.target) as client:
        for each in ("w1", "w2", "w3"):
            await save(client, each)
            await save(client, each)
    damage_newest_marker(served.folder, "w2")
    async with serving_watched(tmp_path) as served, connect(served.target) as client:
        with pytest.raises(holdfast.CheckpointCorruptedError, match="'w2'") as caught:
            await client.delete_workflows("n", "w")
        assert caught.value.metadata["workflow_id"] == "w2"
        assert (caught.value.metadata["failed"], caught.value.metadata["deleted"]) == ("1", "2")
        assert await left(client) == {"w2"}
