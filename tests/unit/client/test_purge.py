"""Purges through the SDK: when the call returns, no file of the store contains the purged bytes."""

import asyncio

import holdfast
import pytest
from holdfast import Record

from tests.support import folder_objects

FORMAT = holdfast.Format("secret-format", 1)
pytestmark = [
    pytest.mark.asynchronous_only("what is removed is the server's; the client sends one flag"),
    # Compressed bytes would not show what they contain.
    pytest.mark.without_deltas,
]
SECRET = b"the-secret"


async def keep(client, checkpoint_id, workflow_id="w", **more):
    data = {"small": SECRET + b"-small", "large": SECRET * 20_000, "the-secret-part": b"x"}
    saved = await client.save(
        "n", workflow_id, data, format=FORMAT, checkpoint_id=checkpoint_id, labels={"k": "the-secret"}, **more
    )
    await client.attach("n", workflow_id, checkpoint_id, [Record("the-secret-key", SECRET)])
    return saved


def holds_secret(served, workflow_id="w"):
    found = folder_objects.objects_with(served.folder, b"secret", f"ns/n/wf/{workflow_id}/*")
    if not folder_objects.objects_with(served.folder, b"secret"):
        # Nor does a file keep traces of deleted objects.
        assert folder_objects.files_with(served.folder, b"secret") == []
    return found


async def reason(call):
    with pytest.raises(holdfast.HoldfastError) as caught:
        await call
    return caught.value.reason


async def test_a_purged_checkpoint_is_in_no_file(served, client):
    await keep(client, "a")
    await keep(client, "b")
    assert len(holds_secret(served)) == 6
    await client.delete("n", "w", "a", purge=True)
    left = holds_secret(served)
    assert len(left) == 3
    assert (await client.load("n", "w", "b")).parts["large"] == SECRET * 20_000
    assert await reason(client.load("n", "w", "a")) == "CHECKPOINT_DELETED"
    await client.delete("n", "w", "b", purge=True)
    assert holds_secret(served) == []
    assert await reason(client.delete("n", "w", "b", purge=True)) == "CHECKPOINT_DELETED"


async def test_without_purge_the_bytes_stay_for_the_grace_and_can_be_purged_then(served, client):
    await keep(client, "a")
    await client.delete("n", "w", "a")
    assert holds_secret(served)
    await client.delete("n", "w", "a", purge=True)
    assert holds_secret(served) == []


async def test_a_purged_workflow_is_in_no_file_and_can_be_saved_to_again(served, client):
    for name in "abc":
        await keep(client, name)
    await client.delete_workflow("n", "w", purge=True)
    assert holds_secret(served) == []
    saved = await client.save("n", "w", b"new", format=holdfast.Format("f", 1), checkpoint_id="a")
    assert (await client.load("n", "w")).revision == saved.revision


async def test_a_purge_by_prefix_includes_workflows_that_were_deleted_before(served, client):
    for workflow_id in ("t:a", "t:b", "other"):
        await keep(client, "x", workflow_id=workflow_id)
    await client.delete_workflow("n", "t:a")
    assert await client.delete_workflows("n", "t:", purge=True) == 1
    assert holds_secret(served, "t%3Aa") == holds_secret(served, "t%3Ab") == []
    assert len(holds_secret(served, "other")) == 3
    requests = served.store.requests
    requests.clear()
    assert await client.delete_workflows("n", "t:", purge=True) == 0
    assert requests["put_if_absent"] <= 2


async def test_a_purge_whose_removals_fail_is_retried_until_everything_is_gone(served, client):
    await keep(client, "a")
    await keep(client, "b")
    failed = []

    def lose(operation, key):
        lost = operation in ("delete", "replace") and len(failed) < 3
        if lost:
            failed.append(key)
        return lost

    served.store.lose_request = lose
    await client.delete("n", "w", "a", purge=True)
    assert len(failed) == 3
    assert len(holds_secret(served)) == 3
    assert [each.checkpoint_id async for each in client.list("n", "w")] == ["b"]


async def test_a_retry_of_a_purged_save_says_that_it_is_deleted(client):
    saved = await client.save("n", "w", SECRET, format=FORMAT, request_id="r")
    await client.delete("n", "w", saved.checkpoint_id, purge=True)
    assert await reason(client.save("n", "w", SECRET, format=FORMAT, request_id="r")) == "CHECKPOINT_DELETED"


async def test_a_purge_ends_a_running_stream_of_its_checkpoint(served, client):
    await client.save("n", "w", b"x" * (40 << 20), format=FORMAT, checkpoint_id="a")
    began = asyncio.Event()
    goes_on = asyncio.Event()

    async def wait(operation, key):
        if operation == "get" and "/blob/" in key:
            began.set()
            await goes_on.wait()

    served.store.before = wait
    load = asyncio.create_task(reason(client.load("n", "w", "a")))
    await began.wait()
    await client.delete("n", "w", "a", purge=True)
    goes_on.set()
    assert await load == "CHECKPOINT_DELETED"
