"""Lists with contents, of one workflow and of a whole namespace."""

import grpc
import holdfast
import pytest
from holdfast import Record
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub

from tests.support.damage import damage_marker, damage_newest
from tests.support.watched import serving_watched

FORMAT = holdfast.Format("test", 1)


async def save(client, workflow_id, data, **more):
    return await client.save("n", workflow_id, data, format=FORMAT, **more)


@pytest.mark.asynchronous_only("many saves; pages are read by both below")
async def test_a_history_of_500_small_checkpoints_is_read_in_one_call(served, client):
    for number in range(500):
        await save(client, "w", b"%d" % number)
    served.store.requests.clear()
    found = [each.data async for each in client.history("n", "w", page_size=1000)]
    assert found == [b"%d" % number for number in reversed(range(500))]
    assert served.store.requests["list"] <= 1


async def test_a_history_returns_payloads_of_any_size(client):
    sizes = [10, 200_000, 3 << 20, 1 << 20, 0, 900_000, 900_000, 900_000, 900_000, 900_000, 900_000]
    for number, size in enumerate(sizes):
        await save(client, "w", {"": bytes([number]) * size, "b": b"%d" % number})
    found = [each.parts async for each in client.history("n", "w")]
    expected = [{"": bytes([number]) * size, "b": b"%d" % number} for number, size in enumerate(sizes)]
    assert found == expected[::-1]


async def test_labels_come_in_the_same_order_each_time(client):
    labels = {f"k{number}": "" for number in reversed(range(9))}
    for _ in range(3):
        saved = await save(client, "w", b"x", labels=labels)
        loaded = await client.load("n", "w")
        (listed, *_) = [each async for each in client.list("n", "w")]
        for each in (saved, loaded.info, listed):
            assert list(each.labels) == sorted(labels)
    with pytest.raises(holdfast.InvalidRequestError) as caught:
        [each async for each in client.watch("n", "w", after_revision=99)]
    assert list(caught.value.metadata) == ["field", "head_digest", "head_revision"]


async def test_a_list_before_a_checkpoint_contains_only_older_ones(client):
    saved = [await save(client, "w", b"x") for _ in range(5)]
    before = saved[3].checkpoint_id
    for size in (0, 1, 2):
        found = [each.revision async for each in client.list("n", "w", before=before, page_size=size)]
        assert found == [3, 2, 1]
    with pytest.raises(holdfast.HoldfastError) as caught:
        _ = [each async for each in client.list("n", "w", before="never")]
    assert caught.value.reason == "CHECKPOINT_NOT_FOUND"


async def test_a_list_with_ids_only_contains_only_ids(client):
    saved = await save(client, "w", b"x", labels={"k": "v"})
    (found,) = [each async for each in client.list("n", "w", ids_only=True)]
    assert (found.checkpoint_id, found.revision, found.workflow_id) == (saved.checkpoint_id, 1, "w")
    assert not found.labels
    assert not found.parts


@pytest.mark.parametrize("page_size", [0, 1, 2, 5])
async def test_a_list_of_a_namespace_contains_each_workflow_newest_checkpoint_first(client, page_size):
    for number in range(3):
        for workflow in ("a", "b", "x" * 300, "ü"):
            await save(client, workflow, b"%d" % number, labels={"parity": str(number % 2)})
    await client.save("other", "a", b"x", format=FORMAT)
    await client.acquire_writer("n", "fenced")
    found = [each async for each in client.list("n", page_size=page_size)]
    assert len(found) == 12
    assert {each.namespace for each in found} == {"n"}
    for workflow in ("a", "b", "x" * 300, "ü"):
        assert [each.revision for each in found if each.workflow_id == workflow] == [3, 2, 1]
    assert sum([each.workflow_id for each in found].index(workflow) % 3 for workflow in ("a", "b", "ü")) == 0
    even = [each.data async for each in client.history("n", labels={"parity": "0"}, page_size=page_size)]
    assert even == [b"2", b"0"] * 4


async def test_a_history_returns_records_with_their_checkpoints(client):
    for name in ("a", "b", "c"):
        await save(client, "w", b"x", checkpoint_id=name)
        await client.attach("n", "w", name, [Record(name, b"1")])
    found = {each.checkpoint_id: each.records async for each in client.history("n", "w", records=True)}
    assert found == {name: (Record(name, b"1"),) for name in ("a", "b", "c")}


@pytest.mark.without_deltas
async def test_a_history_raises_at_a_damaged_payload(served, client):
    await save(client, "w", bytes(100_000))
    await save(client, "w", bytes(200_000))
    damage_newest(served.folder)
    assert len([each async for each in client.list("n", "w")]) == 2
    with pytest.raises(holdfast.HoldfastError) as caught:
        _ = [each async for each in client.history("n", "w")]
    assert caught.value.reason == "CHECKPOINT_CORRUPTED"


async def until_damage(listed):
    found = []
    try:
        async for each in listed:
            found.append(each)
    except holdfast.CheckpointCorruptedError as error:
        return found, error
    pytest.fail("no damage was reported")


async def test_a_damaged_marker_is_reported_as_skipped_by_a_list_and_ends_a_history(connect, served, client):
    for _ in range(4):
        await save(client, "w", b"x")
    damage_marker(served.folder, newer=2)
    async with (
        serving_watched(served.folder.parent) as fresh,
        connect(fresh.target, timeout=20) as other,
        grpc.aio.insecure_channel(fresh.target) as channel,
    ):
        page = await CheckpointServiceStub(channel).List(api.ListRequest(namespace="n", workflow_id="w"))
        assert [each.revision for each in page.checkpoints] == [4, 3, 1]
        assert [(each.revision, each.reason) for each in page.skipped] == [(2, "CHECKPOINT_CORRUPTED")]
        assert [each.revision async for each in other.list("n", "w")] == [4, 3, 1]
        for size in (0, 1, 2):
            for listed in (
                other.history("n", "w", page_size=size),
                other.list("n", "w", strict=True, page_size=size),
                other.list("n", strict=True, page_size=1),
            ):
                found, error = await until_damage(listed)
                assert (len(found), error.metadata["revision"]) == (2, "2")


async def test_damage_is_reported_once_on_the_page_that_skips_it(served, client):
    for _ in range(5):
        await save(client, "w", b"x")
    damage_marker(served.folder, newer=2)
    listed = []
    async with (
        serving_watched(served.folder.parent) as fresh,
        grpc.aio.insecure_channel(fresh.target) as channel,
    ):
        request = api.ListRequest(namespace="n", workflow_id="w", page_size=1)
        while True:
            page = await CheckpointServiceStub(channel).List(request)
            listed.append(([each.revision for each in page.checkpoints], [each.revision for each in page.skipped]))
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    assert listed == [([5], []), ([4], []), ([2], [3]), ([1], [])]
