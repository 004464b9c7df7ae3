"""Requests of plain gRPC that do not say which attempt they are commit once, however late they are sent again."""

import grpc
import pytest
from crc32c import crc32c
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub

NAMES = {"namespace": "n", "workflow_id": "w"}
SENT_BEFORE = (("grpc-previous-rpc-attempts", "1"),)


@pytest.fixture
async def stub(served):
    # A channel that retries by itself sets this header itself, and omits it from a first attempt.
    async with grpc.aio.insecure_channel(served.target, options=[("grpc.enable_retries", 0)]) as channel:
        yield CheckpointServiceStub(channel)


def saving(request_id, **fields):
    header = {**NAMES, "request_id": request_id, "format": {"name": "f", "version": 1}, **fields}
    return api.SaveRequest(header=header, parts=[{"data": request_id.encode()}])


async def others(stub, number=20):
    for each in range(number):
        await stub.Save(saving(f"other-{each}"))


async def revisions(stub):
    return [each.revision for each in (await stub.List(api.ListRequest(**NAMES))).checkpoints]


async def test_a_save_that_is_sent_again_after_twenty_others_is_replayed(stub):
    first = await stub.Save(saving("r"))
    await others(stub)
    again = await stub.Save(saving("r"))
    assert (again.replayed, again.checkpoint) == (True, first.checkpoint)
    assert len(await revisions(stub)) == 21


@pytest.mark.parametrize("attempt", [{"number": 1}, {"number": 2}, {}])
async def test_a_request_that_grpc_itself_sends_again_is_a_retry_whatever_it_says(stub, attempt):
    first = await stub.Save(saving("r", attempt=attempt))
    await others(stub)
    again = await stub.Save(saving("r", attempt=attempt), metadata=SENT_BEFORE)
    assert (again.replayed, again.checkpoint) == (True, first.checkpoint)


async def test_a_streamed_save_that_grpc_itself_sends_again_is_replayed(stub):
    async def save(**metadata):
        call = stub.SaveStream(**metadata)
        header = saving("r", attempt={"number": 1}).header
        await call.write(api.SaveStreamRequest(header=header))
        await call.write(api.SaveStreamRequest(chunk={"data": b"x", "crc32c": crc32c(b"x")}))
        await call.write(api.SaveStreamRequest(finish={"size_bytes": 1}))
        await call.done_writing()
        return await call

    first = await save()
    await others(stub)
    again = await save(metadata=SENT_BEFORE)
    assert (again.replayed, again.checkpoint.revision) == (True, first.checkpoint.revision)


async def test_a_deletion_of_the_workflow_that_is_sent_again_does_not_delete_later_saves(stub):
    await others(stub, 1)
    request = api.DeleteWorkflowRequest(**NAMES, request_id="d")
    first = await stub.DeleteWorkflow(request)
    for each in range(20):
        await stub.Save(saving(f"new-{each}"))
    again = await stub.DeleteWorkflow(request)
    assert (again.replayed, again.revision) == (True, first.revision)
    assert len(await revisions(stub)) == 20


async def test_an_acquisition_that_is_sent_again_evicts_nobody(stub):
    request = api.AcquireWriterRequest(**NAMES, request_id="a")
    first = await stub.AcquireWriter(request)
    newer = await stub.AcquireWriter(api.AcquireWriterRequest(**NAMES, request_id="b"))
    for each in range(20):
        await stub.Save(saving(f"s-{each}", epoch=newer.epoch))
    again = await stub.AcquireWriter(request)
    assert (again.replayed, again.epoch) == (True, first.epoch)
    await stub.Save(saving("last", epoch=newer.epoch))


async def test_a_retry_that_does_not_say_when_its_first_attempt_was_is_replayed(stub):
    first = await stub.Save(saving("r", attempt={"number": 1}))
    await others(stub)
    again = await stub.Save(saving("r", attempt={"number": 2}))
    assert (again.replayed, again.checkpoint) == (True, first.checkpoint)


async def test_a_request_id_of_other_content_is_refused_however_late(stub):
    await stub.Save(saving("r"))
    await others(stub)
    other = saving("r")
    other.parts[0].data = b"other"
    with pytest.raises(grpc.aio.AioRpcError, match="has other content"):
        await stub.Save(other)


async def test_each_marker_is_read_once_for_requests_that_do_not_say_which_attempt_they_are(served, stub):
    await others(stub, 60)
    served.store.requests.clear()
    for each in range(10):
        await stub.Save(saving(f"more-{each}"))
    assert served.store.requests["get"] <= 30
    served.store.requests.clear()
    for each in range(10):
        await stub.Save(saving(f"first-{each}", attempt={"number": 1}))
    assert served.store.requests["get"] == 0


@pytest.mark.parametrize("number", ["", "x", "-1", "99999999999999999999", "1.5"])
async def test_an_invalid_number_of_previous_attempts_counts_as_none(stub, number):
    await stub.Save(saving("r"), metadata=(("grpc-previous-rpc-attempts", number),))
    assert await revisions(stub) == [1]
