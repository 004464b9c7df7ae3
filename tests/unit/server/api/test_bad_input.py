"""Bad input gets an error that names the field, and the server continues to serve."""

import grpc
import holdfast
import pytest
from crc32c import crc32c
from holdfast._core.statuses import from_rpc_error
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub

BAD_NAMES = ["", "x" * 600, "a/b", "..", "nul\0", "line\nbreak"]


def header(**changes):
    fields = {"namespace": "n", "workflow_id": "w", "request_id": "r"} | changes
    return checkpoint_pb2.SaveHeader(**({"format": checkpoint_pb2.Format(name="f", version=1)} | fields))


def chunk(data=b"x", **changes):
    return api.SaveStreamRequest(chunk=checkpoint_pb2.Chunk(**({"data": data, "crc32c": crc32c(data)} | changes)))


FINISH = api.SaveStreamRequest(finish=api.SaveStreamFinish(size_bytes=1))
HEADER = api.SaveStreamRequest(header=header())


@pytest.fixture
async def stub(served):
    async with grpc.aio.insecure_channel(served.target) as channel:
        yield CheckpointServiceStub(channel)
        part = checkpoint_pb2.Part(data=b"x")
        assert (await stub_of(channel).Save(api.SaveRequest(header=header(), parts=[part]))).checkpoint.revision == 1


def stub_of(channel):
    return CheckpointServiceStub(channel)


async def violation(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = from_rpc_error(caught.value, trace_id="", request_id="")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.trace_id
    return error.field_violations[0][0]


@pytest.mark.parametrize("field", ["namespace", "workflow_id", "request_id", "checkpoint_id", "parent_id"])
@pytest.mark.parametrize("bad", BAD_NAMES)
async def test_a_bad_name_is_refused_by_its_field(stub, field, bad):
    if not bad and field in ("checkpoint_id", "parent_id"):
        return
    request = api.SaveRequest(header=header(**{field: bad}), parts=[checkpoint_pb2.Part(data=b"x")])
    assert await violation(stub.Save(request)) == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"format": checkpoint_pb2.Format(name="f")}, "format.version"),
        ({"format": checkpoint_pb2.Format(name="f", version=-1)}, "format.version"),
        ({"epoch": -1}, "epoch"),
        ({"expected_revision": -1}, "expected_revision"),
        ({"attempt": checkpoint_pb2.Attempt(number=-1)}, "attempt.number"),
        ({"labels": {str(i): "" for i in range(65)}}, "labels"),
        ({"labels": {"k": "v" * 1025}}, "labels['k']"),
    ],
)
async def test_a_bad_value_is_refused_by_its_field(stub, changes, field):
    request = api.SaveRequest(header=header(**changes), parts=[checkpoint_pb2.Part(data=b"x")])
    assert await violation(stub.Save(request)) == field


async def test_bad_parts_are_refused(stub):
    part = checkpoint_pb2.Part
    assert await violation(stub.Save(api.SaveRequest(header=header()))) == "parts"
    twice = [part(data=b"x"), part(data=b"y")]
    assert await violation(stub.Save(api.SaveRequest(header=header(), parts=twice))) == "parts[1].name"
    wrong = [part(data=b"x", crc32c=1)]
    assert await violation(stub.Save(api.SaveRequest(header=header(), parts=wrong))) == "parts[0].crc32c"
    large = [part(data=b"x" * (1 << 20) + b"x")]
    assert await violation(stub.Save(api.SaveRequest(header=header(), parts=large))) == "parts"


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "header"),
        ([chunk()], "header"),
        ([HEADER, HEADER], "header"),
        ([HEADER], "finish"),
        ([HEADER, chunk()], "finish"),
        ([HEADER, FINISH], "chunk"),
        ([HEADER, chunk(crc32c=1), FINISH], "chunk.crc32c"),
        ([HEADER, chunk(offset=-1), FINISH], "chunk.offset"),
        ([HEADER, chunk(offset=5), FINISH], "chunk.offset"),
        ([HEADER, chunk(), chunk(part="b"), chunk(offset=1)], "chunk.part"),
        ([HEADER, chunk(), chunk(offset=1), FINISH], "finish.size_bytes"),
        ([HEADER, chunk(), FINISH, chunk()], "message"),
        ([HEADER, api.SaveStreamRequest()], "message"),
    ],
)
async def test_a_bad_stream_is_refused_and_saves_nothing(stub, messages, field):
    assert await violation(stub.SaveStream(iter(messages))) == field
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Load(api.LoadRequest(namespace="n", workflow_id="w"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_bytes_that_are_not_a_message_are_refused(stub, served):
    async with grpc.aio.insecure_channel(served.target) as channel:
        save = channel.unary_unary("/holdfast.v1.CheckpointService/Save")
        assert await violation(save(b"\x0a\xff")) == "request"


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"\x0a\x04\x0a\x02\xff\xfe", "namespace"),
        (b"\x0a\x05\x0a\x01n\x12\x00\x12\x03\x0a\x01\xff", "parts.name"),
    ],
)
async def test_text_that_is_not_utf8_is_refused_by_its_field(stub, served, raw, field):
    async with grpc.aio.insecure_channel(served.target) as channel:
        save = channel.unary_unary("/holdfast.v1.CheckpointService/Save")
        assert await violation(save(raw)) == field


async def test_bad_pages_ranges_and_depths_are_refused(stub, client):
    await client.save("n", "v", b"0123456789", format=holdfast.Format("f", 1))
    names = {"namespace": "n", "workflow_id": "v"}
    assert await violation(stub.List(api.ListRequest(page_size=-1, **names))) == "page_size"
    assert await violation(stub.List(api.ListRequest(page_token="?", **names))) == "page_token"
    for part_range, field in (
        (api.PartRange(offset=-1), "ranges[0].offset"),
        (api.PartRange(offset=11), "ranges[0].offset"),
        (api.PartRange(length=-1), "ranges[0].length"),
        (api.PartRange(part="no"), "ranges[0].part"),
    ):
        stream = stub.LoadStream(api.LoadStreamRequest(ranges=[part_range], **names))
        await stream.read()
        assert await violation(stream.read()) == field


@pytest.mark.parametrize("length", [129, 5_000, 20_000, 3_000_000])
async def test_an_id_of_any_length_is_refused_by_its_field(stub, length):
    request = api.SaveRequest(header=header(request_id="x" * length), parts=[checkpoint_pb2.Part(data=b"x")])
    assert await violation(stub.Save(request)) == "request_id"


async def test_names_of_any_length_and_script_are_refused_by_their_field(stub, client):
    await client.save("n", "v", b"0123456789", format=holdfast.Format("f", 1))
    for length in (100, 1_000, 100_000):
        ranges = [api.PartRange(part="\N{GRINNING FACE}" * length)]
        stream = stub.LoadStream(api.LoadStreamRequest(namespace="n", workflow_id="v", ranges=ranges))
        await stream.read()
        assert await violation(stream.read()) == "ranges[0].part"


async def test_a_page_token_of_workflows_that_was_not_issued_by_a_server_is_refused_by_its_field(stub):
    for token in ("?", "Li4vLi4v", "x" * 1_000_000):
        assert (
            await violation(stub.ListWorkflows(api.ListWorkflowsRequest(namespace="n", page_token=token)))
            == "page_token"
        )


async def test_a_page_token_of_namespaces_that_was_not_issued_by_a_server_is_refused_by_its_field(stub):
    for token in ("?", "Li4vLi4v", "x" * 1_000_000):
        assert await violation(stub.ListNamespaces(api.ListNamespacesRequest(page_token=token))) == "page_token"


@pytest.mark.parametrize("given", ["a/b", "a\n", "x" * 129])
async def test_a_prefix_that_no_namespace_can_have_is_refused_by_its_field(stub, given):
    request = api.ListNamespacesRequest(namespace_prefix=given)
    assert await violation(stub.ListNamespaces(request)) == "namespace_prefix"


@pytest.mark.parametrize("given", ["a/b", "a\n", "x" * 513])
async def test_a_prefix_that_no_workflow_id_can_have_is_refused_by_its_field(stub, given):
    request = api.ListWorkflowsRequest(namespace="n", workflow_id_prefix=given)
    assert await violation(stub.ListWorkflows(request)) == "workflow_id_prefix"


async def test_invalid_times_of_a_filter_are_refused_by_their_field(stub, client):
    await client.save("n", "v", b"x", format=holdfast.Format("f", 1))
    for field in ("created_after", "created_before"):
        for time in ({"seconds": 2**62}, {"nanos": -1}):
            request = api.ListRequest(namespace="n", workflow_id="v", filter={field: time})
            assert await violation(stub.List(request)) == f"filter.{field}"


async def test_too_many_formats_and_ranges_are_refused(stub, client):
    await client.save("n", "v", b"x", format=holdfast.Format("f", 1))
    names = {"namespace": "n", "workflow_id": "v"}
    many = [checkpoint_pb2.AcceptedFormat(name="f", min_version=1, max_version=1)] * 65
    assert await violation(stub.Load(api.LoadRequest(accepted_formats=many, **names))) == "accepted_formats"
    assert await violation(stub.List(api.ListRequest(filter={"formats": many}, **names))) == "filter.formats"
    stream = stub.LoadStream(api.LoadStreamRequest(ranges=[api.PartRange()] * 1025, **names))
    await stream.read()
    assert await violation(stream.read()) == "ranges"


async def test_an_epoch_that_no_server_can_have_issued_is_refused(stub):
    request = api.SaveRequest(header=header(epoch=2**63 - 1), parts=[checkpoint_pb2.Part(data=b"x")])
    assert await violation(stub.Save(request)) == "epoch"
