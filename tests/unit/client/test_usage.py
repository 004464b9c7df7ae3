"""What workflows take in the store, as both clients read it."""

import os

import holdfast
import pytest
from holdfast_server.protocol.maintenance import usage_pages

from tests.support.damage import damage_marker

FORMAT = holdfast.Format("test", 1)


async def save(client, workflow_id="w", data=b"x" * 10, **more):
    return await client.save("n", workflow_id, data, format=FORMAT, **more)


async def usage(client, *arguments, **options):
    return [each async for each in client.usage("n", *arguments, **options)]


async def test_usage_counts_checkpoints_objects_and_bytes_of_each_workflow(client):
    for number in range(3):
        await save(client, "a", checkpoint_id=f"c{number}")
    await client.delete("n", "a", "c0")
    await client.attach("n", "a", "c1", [holdfast.Record("k", os.urandom(500))])
    large = await save(client, "b", os.urandom(2 << 20))
    a, b = await usage(client)
    assert (a.workflow_id, a.head_revision, a.checkpoints, a.size_bytes, a.objects) == ("a", 4, 2, 20, 8)
    assert a.stored_bytes == a.live_bytes + a.deleted_bytes + a.record_bytes + a.index_bytes
    assert a.record_bytes > 500
    assert (b.size_bytes, b.objects, b.deleted_bytes) == (2 << 20, 2, 0)
    assert b.live_bytes == b.stored_bytes > large.stored_bytes == 2 << 20
    assert await usage(client, "b") == [b]
    assert await usage(client, prefix="b") == [b]
    (stored,) = await usage(client, "b", stored_only=True)
    assert (stored.objects, stored.stored_bytes) == (b.objects, b.stored_bytes)
    assert (stored.checkpoints, stored.size_bytes, stored.live_bytes, stored.deleted_bytes) == (None,) * 4


async def test_a_page_begins_where_the_page_before_or_a_page_of_workflows_ends(client, monkeypatch):
    monkeypatch.setattr(usage_pages, "_MAX_OBJECTS", 4)
    for name in "abc":
        await save(client, name)
    page = await client.usage_page("n", page_size=2)
    assert [each.workflow_id for each in page.items] == ["a", "b"]
    assert (page.unfinished, page.total, page.damaged_listings) == (None, None, 0)
    page = await client.usage_page("n", page_token=page.next_page_token)
    assert ([each.workflow_id for each in page.items], page.next_page_token) == (["c"], "")
    listed = await client.workflows_page("n", page_size=1)
    page = await client.usage_page("n", page_token=listed.next_page_token, page_size=1)
    assert [each.workflow_id for each in page.items] == ["b"]


async def test_damage_is_counted_and_does_not_end_the_call(served, client):
    for number in range(3):
        await save(client, checkpoint_id=f"c{number}")
    damage_marker(served.folder, newer=0)
    (found,) = await usage(client)
    assert (found.checkpoints, found.damaged_markers, found.head_revision) == (2, 1, 3)


async def test_nothing_of_a_workflow_is_not_found_and_bad_arguments_are_named(client):
    with pytest.raises(holdfast.WorkflowNotFoundError):
        await usage(client, "w")
    assert await usage(client) == []
    for arguments in ({"workflow_id": ""}, {"workflow_id": "w", "prefix": "w"}, {"prefix": "x" * 600}):
        with pytest.raises(holdfast.InvalidRequestError):
            await usage(client, **arguments)
    with pytest.raises(TypeError):
        await usage(client, stored_only=1)
