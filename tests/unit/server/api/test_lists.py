"""A page of a list costs no more than a page, whatever the filter."""

import grpc
import holdfast
import pytest
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server.api.handlers import bulk_deleting, listing
from holdfast_server.protocol.format.keys import WorkflowKeys

from tests.support.frames import frame
from tests.support.markers import sound

FORMAT = holdfast.Format("test", 1)
WORKFLOW = {"namespace": "n", "workflow_id": "w"}


@pytest.fixture
async def fifty_checkpoints(client):
    for number in range(50):
        await client.save(
            "n", "w", b"x", format=FORMAT, labels={"parity": "odd" if number % 2 else "even", "number": str(number)}
        )


@pytest.mark.usefixtures("fifty_checkpoints")
async def test_a_page_ends_after_a_limit_of_examined_checkpoints_and_the_next_one_continues(served, monkeypatch):
    monkeypatch.setattr(listing, "_MAX_EXAMINED", 20)
    request = api.ListRequest(filter={"labels": {"number": "4"}}, **WORKFLOW)
    pages = []
    async with grpc.aio.insecure_channel(served.target) as channel:
        while not pages or request.page_token:
            pages.append(await CheckpointServiceStub(channel).List(request))
            request.page_token = pages[-1].next_page_token
    assert [len(page.checkpoints) for page in pages] == [0, 0, 1]


@pytest.mark.usefixtures("fifty_checkpoints")
@pytest.mark.parametrize("page_size", [1, 7, 25, 26])
@pytest.mark.parametrize("max_examined", [1, 3, 25, 50, 51])
async def test_pages_contain_each_matching_checkpoint_once(client, monkeypatch, page_size, max_examined):
    monkeypatch.setattr(listing, "_MAX_EXAMINED", max_examined)
    listed = [
        each.labels["number"] async for each in client.list("n", "w", labels={"parity": "odd"}, page_size=page_size)
    ]
    assert listed == [str(number) for number in range(49, 0, -2)]


@pytest.fixture
async def newer_server(client, served):
    """Make three workflows, one of them with a newest marker that a newer server has written."""
    for workflow_id in ("a", "b", "c"):
        await client.save("n", workflow_id, b"x", format=FORMAT, checkpoint_id="x", labels={"k": "v"})
    marker = sound(2)
    marker.kind, marker.workflow_id = 9, "b"
    await served.store.put_if_absent(WorkflowKeys("n", "b").marker(2), frame(marker.SerializeToString()))


@pytest.mark.usefixtures("newer_server")
async def test_a_marker_of_a_newer_server_is_reported_by_a_list_and_hides_no_other_workflow(client, served):
    assert [each.workflow_id async for each in client.list_workflows("n")] == ["a", "b", "c"]
    async with grpc.aio.insecure_channel(served.target) as channel:
        page = await CheckpointServiceStub(channel).List(api.ListRequest(namespace="n"))
    assert [each.workflow_id for each in page.checkpoints] == ["a", "b", "c"]
    assert [(each.revision, each.reason) for each in page.skipped] == [(2, "LAYOUT_UNSUPPORTED")]


@pytest.mark.usefixtures("newer_server")
@pytest.mark.parametrize("max_examined", [1, 2, 2000])
async def test_a_deletion_in_all_workflows_deletes_what_it_can_and_then_fails(client, monkeypatch, max_examined):
    monkeypatch.setattr(bulk_deleting, "_MAX_EXAMINED", max_examined)
    with pytest.raises(holdfast.HoldfastError, match="ns/n/wf/b/"):
        await client.delete_checkpoints("n", labels={"k": "v"})
    assert [each.workflow_id async for each in client.list("n")] == ["b"]


@pytest.mark.usefixtures("newer_server")
async def test_a_deletion_of_workflows_by_prefix_reports_one_of_a_newer_server(client):
    with pytest.raises(holdfast.HoldfastError) as caught:
        await client.delete_workflows("n", "", all=True)
    assert caught.value.reason == "LAYOUT_UNSUPPORTED"
    assert [each.workflow_id async for each in client.list("n")] == ["b"]


@pytest.mark.parametrize("workflow_id", ["w", ""])
async def test_a_deletion_by_filter_fails_if_a_damaged_marker_may_match(client, served, workflow_id):
    for number in range(3):
        await client.save("n", "w", b"x", format=FORMAT, labels={"k": "v"}, checkpoint_id=f"c{number}")
    key = WorkflowKeys("n", "w").marker(2)
    await served.store.replace(key, b"rotten")
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await client.delete_checkpoints("n", workflow_id, labels={"k": "v"})
    assert [each.checkpoint_id async for each in client.list("n", "w")] == []
