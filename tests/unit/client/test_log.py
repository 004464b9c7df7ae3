"""A workflow's log, as both clients read it."""

from datetime import timedelta

import holdfast
import pytest
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from tests.support.damage import damage_marker
from tests.support.watched import serving_watched

FORMAT = holdfast.Format("test", 1)


async def save(client, data=b"x", **more):
    return await client.save("n", "w", data, format=FORMAT, **more)


async def log(client, **which):
    return [each async for each in client.log("n", "w", **which)]


async def test_a_log_has_every_kind_of_entry_with_its_effect_newest_first(client):
    saved = await save(client, checkpoint_id="a", labels={"k": "v"})
    await save(client, checkpoint_id="b", parent_id="a")
    await client.acquire_writer("n", "w", lease=timedelta(minutes=1), holder="worker")
    await client.delete("n", "w", "a")
    await save(client, checkpoint_id="b", replace=True)
    await client.prune("n", "w", keep_last=1)
    replaced, deletion, fence, second, first = await log(client)
    assert [each.kind for each in (first, second, fence, deletion, replaced)] == [
        "checkpoint",
        "checkpoint",
        "fence",
        "deletion",
        "checkpoint",
    ]
    assert (first.checkpoint.checkpoint_id, first.checkpoint.labels) == ("a", {"k": "v"})
    assert (first.request_id, first.trace_id) == (saved.request_id, saved.trace_id)
    assert (first.deleted, first.deletion_revision, second.deletion_revision) == (True, 4, 5)
    assert (fence.holder, fence.epoch, fence.lease_expires > fence.created) == ("worker", 1, True)
    assert (deletion.affected, deletion.affected_checkpoint_id) == (((1, 1),), "a")
    assert (replaced.affected, replaced.deleted) == (((2, 2),), False)
    await client.delete_workflow("n", "w")
    newest, collected = await log(client)
    assert (newest.kind, newest.affected) == ("workflow_deletion", ((3, 5),))
    assert (collected.kind, collected.first_revision, collected.revision) == ("collected", 1, 5)


async def test_a_purged_checkpoint_keeps_its_ids_in_the_log(client):
    await save(client, checkpoint_id="a", labels={"k": "v"})
    await save(client, checkpoint_id="b")
    await client.delete("n", "w", "a", purge=True)
    purged = (await log(client))[-1]
    assert (purged.kind, purged.purged, purged.deleted) == ("checkpoint", True, True)
    assert (purged.checkpoint.checkpoint_id, purged.checkpoint.labels) == ("a", {})


async def test_damage_is_an_entry_in_words(served, client, connect):
    for number in range(4):
        await save(client, checkpoint_id=f"c{number}")
    damage_marker(served.folder, newer=1)
    found = await log(client)
    assert [(each.revision, each.kind) for each in found][1] == (3, "damaged")
    assert found[1].reason == "CHECKPOINT_CORRUPTED"
    assert found[1].message


@pytest.mark.parametrize("page_size", [0, 1, 2, 3, 7])
async def test_pages_have_each_entry_once(client, page_size):
    for _ in range(6):
        await save(client)
    assert [each.revision for each in await log(client, page_size=page_size)] == [6, 5, 4, 3, 2, 1]
    bounded = await log(client, page_size=page_size, before_revision=6, after_revision=2)
    assert [each.revision for each in bounded] == [5, 4, 3]
    assert await log(client, before_revision=3, after_revision=2) == []


async def test_one_page_of_a_log_is_continued_by_its_token(client):
    for _ in range(3):
        await save(client)
    first = await client.log_page("n", "w", page_size=2)
    assert [each.revision for each in first.items] == [3, 2]
    last = await client.log_page("n", "w", page_size=2, page_token=first.next_page_token)
    assert ([each.revision for each in last.items], last.next_page_token) == ([1], "")


async def test_the_log_of_a_workflow_that_never_was_is_not_found(client):
    with pytest.raises(holdfast.WorkflowNotFoundError):
        await log(client)


@pytest.mark.parametrize("which", [{"before_revision": -1}, {"after_revision": 1 << 40}, {"page_size": 1001}])
async def test_bounds_outside_their_range_are_refused_by_name(client, which):
    await save(client)
    with pytest.raises(holdfast.InvalidRequestError) as refused:
        await log(client, **which)
    assert [name for name, _ in refused.value.field_violations] == list(which)


async def test_a_checkpoint_names_the_revisions_that_its_bytes_rest_on(client):
    base = bytes(range(256)) * 200
    for number in range(3):
        await save(client, base + b"%d" % number, checkpoint_id=f"c{number}")
    by_revision = {each.revision: each.checkpoint.base_revisions for each in await log(client)}
    assert by_revision[1] == ()
    assert set(by_revision[3]) & {1, 2}
    assert (await client.load("n", "w")).info.base_revisions == by_revision[3]


@pytest.mark.asynchronous_only("the server is scripted")
@pytest.mark.parametrize(
    "entries",
    [
        [{"revision": 1, "first_revision": 2}],
        [{"revision": 1, "first_revision": 1}, {"revision": 1, "first_revision": 1}],
        [{"revision": 0, "first_revision": 0}],
        [
            {
                "revision": 2,
                "first_revision": 2,
                "kind": checkpoint_pb2.LOG_ENTRY_KIND_CHECKPOINT,
                "checkpoint": {"namespace": "n", "workflow_id": "w", "checkpoint_id": "c", "revision": 1},
            }
        ],
        [
            {
                "revision": 1,
                "first_revision": 1,
                "kind": checkpoint_pb2.LOG_ENTRY_KIND_CHECKPOINT,
                "checkpoint": {"namespace": "other", "workflow_id": "w", "checkpoint_id": "c", "revision": 1},
            }
        ],
    ],
)
async def test_entries_that_contradict_themselves_are_refused(tmp_path, entries, monkeypatch):
    page = api.ListLogResponse(entries=entries)
    async with serving_watched(tmp_path) as served, holdfast.AsyncClient(served.target) as client:

        async def answer(*_args, **_options):
            return page

        monkeypatch.setattr(client._transport, "unary", answer)
        with pytest.raises(holdfast.InternalError):
            await log(client)


async def test_a_kind_of_a_newer_server_is_unknown_and_hides_nothing(tmp_path, monkeypatch, connect):
    page = api.ListLogResponse(entries=[{"revision": 2, "first_revision": 2, "kind": 99}])
    async with serving_watched(tmp_path) as served, holdfast.AsyncClient(served.target) as client:

        async def answer(*_args, **_options):
            return page

        monkeypatch.setattr(client._transport, "unary", answer)
        assert [(each.revision, each.kind) for each in await log(client)] == [(2, "unknown")]
