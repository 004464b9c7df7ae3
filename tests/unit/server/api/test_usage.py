"""GetUsage: its views, its pages, its arguments, and what it says of the namespace."""

import grpc
import pytest
from google.rpc import error_details_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server import scheduled_gc
from holdfast_server.protocol.maintenance import usage_pages

from tests.support.watched import serving_watched
from tests.unit.server.api.calls import header, reason, refusal


@pytest.fixture
async def stub(served):
    async with grpc.aio.insecure_channel(served.target) as channel:
        yield CheckpointServiceStub(channel)


async def save(stub, workflow_id="w", data=b"x" * 10, **fields):
    request = header(workflow_id=workflow_id, request_id=f"{workflow_id} {fields}", **fields)
    return await stub.Save(api.SaveRequest(header=request, parts=[{"data": data}]))


async def pages(stub, **fields):
    request = api.GetUsageRequest(namespace="n", **fields)
    while True:
        page = await stub.GetUsage(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def test_the_view_decides_what_is_measured(stub):
    for number in range(3):
        await save(stub, checkpoint_id=f"c{number}")
    await stub.Delete(api.DeleteRequest(namespace="n", workflow_id="w", checkpoint_id="c0", request_id="d"))
    full = (await stub.GetUsage(api.GetUsageRequest(namespace="n", workflow_id="w"))).workflows[0]
    assert (full.workflow_id, full.key_prefix, full.head_revision) == ("w", "ns/n/wf/w/", 4)
    assert (full.checkpoints, full.size_bytes, full.damaged_markers, full.objects) == (2, 20, 0, 7)
    assert full.stored_bytes == full.live_bytes + full.deleted_bytes + full.record_bytes + full.index_bytes
    assert min(full.live_bytes, full.deleted_bytes, full.index_bytes) > 0
    stored = (await stub.GetUsage(api.GetUsageRequest(namespace="n", view=api.USAGE_VIEW_STORED))).workflows[0]
    for name in ("checkpoints", "size_bytes", "live_bytes", "deleted_bytes"):
        assert not stored.HasField(name)
        full.ClearField(name)
    assert stored == full


async def test_pages_contain_each_workflow_once_and_unfinished_ones_as_far_as_they_are(stub, monkeypatch):
    monkeypatch.setattr(usage_pages, "_MAX_OBJECTS", 3)
    for name in "abc":
        await save(stub, name)
    found = [[each.workflow_id for each in page.workflows] async for page in pages(stub, page_size=2)]
    assert found == [["a", "b"], ["c"]]
    for number in range(8):
        await save(stub, "b", checkpoint_id=f"c{number}")
    of_one = [page async for page in pages(stub, workflow_id="b")]
    assert [page.unfinished.objects for page in of_one] == [3, 6, 9, 12, 15, 0]
    assert not of_one[0].unfinished.HasField("live_bytes")
    assert [len(page.workflows) for page in of_one] == [0] * 5 + [1]
    assert of_one[-1].workflows[0].checkpoints == 9


async def test_a_token_of_a_list_of_workflows_begins_after_that_list(stub):
    for name in "abcd":
        await save(stub, name)
    listed = await stub.ListWorkflows(api.ListWorkflowsRequest(namespace="n", page_size=2))
    page = await stub.GetUsage(api.GetUsageRequest(namespace="n", page_token=listed.next_page_token, page_size=1))
    assert [each.workflow_id for each in page.workflows] == ["c"]


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("namespace", {"namespace": ""}),
        ("workflow_id", {"workflow_id": "."}),
        ("workflow_id_prefix", {"workflow_id": "w", "workflow_id_prefix": "w"}),
        ("workflow_id_prefix", {"workflow_id_prefix": "x" * 513}),
        ("page_size", {"page_size": 1001}),
        ("page_token", {"page_token": "x"}),
        ("view", {"view": 9}),
    ],
)
async def test_bad_arguments_are_named(stub, field, fields):
    details = await refusal(stub.GetUsage(api.GetUsageRequest(**{"namespace": "n", **fields})))
    assert [each.field for each in details[error_details_pb2.BadRequest].field_violations] == [field]


async def test_nothing_of_a_workflow_is_not_found_and_nothing_of_a_namespace_is_an_empty_page(stub):
    assert await reason(stub.GetUsage(api.GetUsageRequest(namespace="n", workflow_id="w"))) == "WORKFLOW_NOT_FOUND"
    assert await stub.GetUsage(api.GetUsageRequest(namespace="n")) == api.GetUsageResponse()


async def test_usage_and_quotas_agree(tmp_path, monkeypatch):
    (tmp_path / "quotas").write_text("[default]\nstored_bytes = 100_000\nworkflows = 3")
    monkeypatch.setattr(scheduled_gc, "_FIRST_SECONDS", 0.001)
    async with (
        serving_watched(tmp_path, quotas_file=str(tmp_path / "quotas"), deltas=False) as served,
        grpc.aio.insecure_channel(served.target) as channel,
    ):
        stub = CheckpointServiceStub(channel)
        while not (page := await stub.GetUsage(api.GetUsageRequest(namespace="n"))).total.HasField("measure_time"):
            assert (page.total.stored_bytes_limit, page.total.workflows_limit) == (100_000, 3)
        assert (page.total.stored_bytes, page.total.workflows) == (0, 0)
        await save(stub, "a", b"x" * 50_000)
        await save(stub, "b", b"x" * 10)
        page = await stub.GetUsage(api.GetUsageRequest(namespace="n"))
        # Until the next collection a marker counts as 1 KiB.
        assert 0 <= page.total.stored_bytes - sum(each.stored_bytes for each in page.workflows) < 2048
        assert page.total.workflows == 2
        assert await reason(save(stub, "c", b"x" * 50_000)) == "QUOTA_EXCEEDED"


async def test_a_collection_counts_namespaces_without_quotas_as_well(tmp_path):
    async with (
        serving_watched(tmp_path, gc_interval_seconds=1) as served,
        grpc.aio.insecure_channel(served.target) as channel,
    ):
        stub = CheckpointServiceStub(channel)
        await save(stub, "a")
        while True:
            page = await stub.GetUsage(api.GetUsageRequest(namespace="n"))
            if page.total.stored_bytes:
                break
        assert page.total.stored_bytes == page.workflows[0].stored_bytes
        assert page.total.workflows == 1
        assert not page.total.HasField("stored_bytes_limit")
