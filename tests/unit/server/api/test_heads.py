"""Every answer about a workflow names the head of its log, at no request to the store that the call would not make."""

import hashlib

import grpc
import pytest
from google.rpc import error_details_pb2
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server.protocol.format.keys import WorkflowKeys

from tests.support import folder_objects
from tests.support.damage import damage_newest_marker
from tests.support.watched import serving_watched
from tests.unit.server.api.calls import WORKFLOW, chunk, header, refusal

NO_LOG = checkpoint_pb2.Head()


@pytest.fixture
async def stub(served):
    async with grpc.aio.insecure_channel(served.target) as channel:
        yield CheckpointServiceStub(channel)


def head_in(served, workflow_id="w"):
    """Return the head of a log, from the store."""
    key = folder_objects.keys(served.folder, f"ns/n/wf/{workflow_id}/log/*")[0]
    revision = WorkflowKeys("n", workflow_id).revision(key)
    return checkpoint_pb2.Head(
        revision=revision, digest=hashlib.sha256(folder_objects.read(served.folder, key)).digest()
    )


async def save(stub, request_id, **changes):
    fields = {"request_id": request_id, "checkpoint_id": request_id, "attempt": {"number": 1}} | changes
    return await stub.Save(api.SaveRequest(header=header(**fields), parts=[{"data": b"x"}]))


async def save_stream(stub, request_id):
    async def messages():
        yield api.SaveStreamRequest(header=header(request_id=request_id))
        yield chunk(b"x")
        yield api.SaveStreamRequest(finish={"size_bytes": 1})

    return await stub.SaveStream(messages())


async def load_stream(stub, **fields):
    async for message in stub.LoadStream(api.LoadStreamRequest(**WORKFLOW, **fields)):
        return message.header
    raise AssertionError("no header")


async def in_pipeline(stub, kind, request):
    async def messages():
        yield api.PipelineRequest(calls=[api.PipelineCall(call_id=1, **{kind: request})])

    async for response in stub.Pipeline(messages()):
        for answer in response.answers:
            return getattr(answer, kind)
    raise AssertionError("no answer")


def filtered(**fields):
    return api.DeleteCheckpointsRequest(**WORKFLOW, filter={"labels": {"a": "b"}}, request_id="filtered", **fields)


CALLS = {
    "Save": lambda stub: save(stub, "new"),
    "SaveStream": lambda stub: save_stream(stub, "new"),
    "Load": lambda stub: stub.Load(api.LoadRequest(**WORKFLOW)),
    "Load of an older one": lambda stub: stub.Load(api.LoadRequest(**WORKFLOW, checkpoint_id="c1")),
    "Load with fallback": lambda stub: stub.Load(api.LoadRequest(**WORKFLOW, fallback=api.FALLBACK_LAST_GOOD)),
    "LoadStream": load_stream,
    "List": lambda stub: stub.List(api.ListRequest(**WORKFLOW)),
    "List before": lambda stub: stub.List(api.ListRequest(**WORKFLOW, before_checkpoint_id="c2")),
    "Validate": lambda stub: stub.Validate(api.ValidateRequest(**WORKFLOW)),
    "Validate of an unknown one": lambda stub: stub.Validate(api.ValidateRequest(**WORKFLOW, checkpoint_id="never")),
    "Delete": lambda stub: stub.Delete(api.DeleteRequest(**WORKFLOW, checkpoint_id="c1", request_id="new")),
    "Purge": lambda stub: stub.Delete(api.DeleteRequest(**WORKFLOW, checkpoint_id="c1", request_id="p", purge=True)),
    "DeleteWorkflow": lambda stub: stub.DeleteWorkflow(api.DeleteWorkflowRequest(**WORKFLOW, request_id="new")),
    "AcquireWriter": lambda stub: stub.AcquireWriter(api.AcquireWriterRequest(**WORKFLOW, request_id="new")),
    "DeleteCheckpoints": lambda stub: stub.DeleteCheckpoints(
        api.DeleteCheckpointsRequest(**WORKFLOW, all=True, request_id="new")
    ),
    "DeleteCheckpoints of none": lambda stub: stub.DeleteCheckpoints(filtered()),
    "Prune": lambda stub: stub.Prune(api.PruneRequest(**WORKFLOW, keep_last=1, request_id="new")),
    "Prune of none": lambda stub: stub.Prune(api.PruneRequest(**WORKFLOW, keep_last=9, request_id="new")),
    "CopyWorkflow": lambda stub: stub.CopyWorkflow(
        api.CopyWorkflowRequest(**WORKFLOW, target_workflow_id="copy", request_id="new")
    ),
    "AttachRecords": lambda stub: stub.AttachRecords(
        api.AttachRecordsRequest(**WORKFLOW, checkpoint_id="c1", records=[{"key": "k"}], request_id="new", epoch=1)
    ),
    "Save in a pipeline": lambda stub: in_pipeline(
        stub, "save", api.SaveRequest(header=header(request_id="new"), parts=[{"data": b"x"}])
    ),
    "Load in a pipeline": lambda stub: in_pipeline(stub, "load", api.LoadRequest(**WORKFLOW)),
}


@pytest.fixture
async def saved(stub):
    """Two checkpoints and a fence."""
    await save(stub, "c1")
    await save(stub, "c2")
    await stub.AcquireWriter(api.AcquireWriterRequest(**WORKFLOW, request_id="w", attempt={"number": 1}))


@pytest.mark.parametrize("name", CALLS)
async def test_the_answer_names_the_head(served, stub, saved, name):
    response = await CALLS[name](stub)
    assert response.head == head_in(served)


async def test_a_copy_also_names_the_head_of_its_target(served, stub, saved):
    request = api.CopyWorkflowRequest(**WORKFLOW, target_workflow_id="copy", request_id="r")
    assert (await stub.CopyWorkflow(request)).target_head == head_in(served, "copy")
    assert not (await stub.CopyWorkflow(request)).HasField("target_head")


async def test_workflows_that_are_listed_have_their_heads(served, stub, saved):
    listed = await stub.ListWorkflows(api.ListWorkflowsRequest(namespace="n"))
    assert [each.head for each in listed.workflows] == [head_in(served)]


async def test_a_listed_workflow_with_a_damaged_head_has_none(served, stub, saved):
    damage_newest_marker(served.folder, "w")
    listed = await stub.ListWorkflows(api.ListWorkflowsRequest(namespace="n"))
    assert [(each.head_revision, each.HasField("head")) for each in listed.workflows] == [(2, False)]


async def test_a_list_of_all_workflows_and_records_without_an_epoch_have_no_head(stub, saved):
    assert not (await stub.List(api.ListRequest(namespace="n"))).HasField("head")
    request = api.AttachRecordsRequest(**WORKFLOW, checkpoint_id="c1", records=[{"key": "k"}], request_id="r")
    assert not (await stub.AttachRecords(request)).HasField("head")


async def test_a_replayed_answer_names_the_entry_of_the_earlier_attempt(stub):
    first = await save(stub, "c1")
    await save(stub, "c2")
    again = await save(stub, "c1", attempt={"number": 2})
    assert (again.replayed, again.head) == (True, first.head)


async def test_a_damaged_head_is_named_by_its_revision_alone(tmp_path):
    async with serving_watched(tmp_path) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = CheckpointServiceStub(channel)
        await save(stub, "c1")
        await save(stub, "c2")
    damage_newest_marker(served.folder, "w")
    async with serving_watched(tmp_path) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = CheckpointServiceStub(channel)
        loaded = await stub.Load(api.LoadRequest(**WORKFLOW, fallback=api.FALLBACK_LAST_GOOD))
        assert (loaded.checkpoint.checkpoint_id, loaded.head_revision) == ("c1", 0)
        assert loaded.head == checkpoint_pb2.Head(revision=2)
        assert (await stub.Validate(api.ValidateRequest(**WORKFLOW))).head == checkpoint_pb2.Head(revision=2)


async def test_a_validation_of_a_workflow_without_a_log_says_so(stub):
    found = await stub.Validate(api.ValidateRequest(**WORKFLOW))
    assert found.HasField("head")
    assert found.head == NO_LOG


async def head_of_error(call):
    metadata = (await refusal(call))[error_details_pb2.ErrorInfo].metadata
    return checkpoint_pb2.Head(revision=int(metadata["head_revision"]), digest=bytes.fromhex(metadata["head_digest"]))


REFUSED = {
    "an unknown checkpoint": lambda stub: stub.Load(api.LoadRequest(**WORKFLOW, checkpoint_id="never")),
    "an unknown checkpoint in a stream": lambda stub: load_stream(stub, checkpoint_id="never"),
    "a list before an unknown one": lambda stub: stub.List(api.ListRequest(**WORKFLOW, before_checkpoint_id="never")),
    "another format": lambda stub: stub.Load(
        api.LoadRequest(**WORKFLOW, accepted_formats=[{"name": "g", "min_version": 1, "max_version": 1}])
    ),
    "a deletion of an unknown one": lambda stub: stub.Delete(
        api.DeleteRequest(**WORKFLOW, checkpoint_id="never", request_id="r")
    ),
    "a revision that was overtaken": lambda stub: save(stub, "r", expected_revision=1),
    "a fenced epoch": lambda stub: save(stub, "r", epoch=0),
    "an id that is used": lambda stub: save(stub, "r", checkpoint_id="c1", labels={"other": "content"}),
    "a request id that is used": lambda stub: save(stub, "c2", labels={"other": "content"}, checkpoint_id="c2"),
    "a fenced writer of records": lambda stub: stub.AttachRecords(
        api.AttachRecordsRequest(**WORKFLOW, checkpoint_id="c1", records=[{"key": "k"}], request_id="r", epoch=0)
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_that_depends_on_the_head_names_it(served, stub, saved, name):
    assert await head_of_error(REFUSED[name](stub)) == head_in(served)


@pytest.mark.parametrize(
    "name", ["an unknown checkpoint", "a deletion of an unknown one", "a list before an unknown one"]
)
async def test_an_error_says_that_a_workflow_has_no_log(stub, name):
    assert await head_of_error(REFUSED[name](stub)) == NO_LOG


async def test_a_workflow_that_was_deleted_still_has_a_head(served, stub, saved):
    await stub.DeleteWorkflow(api.DeleteWorkflowRequest(**WORKFLOW, request_id="r"))
    assert await head_of_error(stub.Load(api.LoadRequest(**WORKFLOW))) == head_in(served)


async def test_the_head_costs_no_request_to_the_store(served, stub):
    await save(stub, "c1", fresh_id=True)
    served.store.requests.clear()
    await save(stub, "c2", fresh_id=True)
    assert served.store.requests == {"put_if_absent": 1}
    served.store.requests.clear()
    await stub.Load(api.LoadRequest(**WORKFLOW))
    assert served.store.requests == {"get": 1}
    served.store.requests.clear()
    await stub.List(api.ListRequest(**WORKFLOW, before_checkpoint_id="c2"))
    assert served.store.requests == {"get": 2}
