"""Streamed saves continue where they stopped.

A caller learns the position from early metadata or by GetUpload, and the earlier stream may still be open.
"""

import asyncio

import grpc
import pytest
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub

from tests.unit.server.api.calls import chunk, header, reason

WHERE = {"namespace": "n", "workflow_id": "w", "request_id": "r"}


@pytest.fixture
async def stub(served):
    async with grpc.aio.insecure_channel(served.target) as channel:
        yield CheckpointServiceStub(channel)


async def begun(stub, resume="1", **changes):
    """Return a stream that has sent its header, and the position that the server reported."""
    stream = stub.SaveStream(metadata=(("holdfast-resume", resume),) if resume else ())
    await stream.write(api.SaveStreamRequest(header=header(**changes)))
    return stream, dict(await stream.initial_metadata()).get("holdfast-received")


async def position(stub, **changes):
    found = await stub.GetUpload(api.GetUploadRequest(**(WHERE | changes)))
    return found.found, found.part, found.offset, found.size_bytes


async def received(stub, offset, **changes):
    """Return a stream of which the server has received exactly `offset` bytes."""
    stream, _ = await begun(stub, **changes)
    await stream.write(chunk(b"x" * offset))
    # The bytes received of one stream show in the position of the next one: repeat until they do.
    while (await position(stub, **{key: changes[key] for key in changes if key in WHERE}))[2] != offset:
        stream.cancel()
        stream, at = await begun(stub, **changes)
        await stream.write(chunk(b"x" * (offset - int(at.split(":")[1])), int(at.split(":")[1])))
    return stream


async def finished(stream, offset, rest, size):
    await stream.write(chunk(rest, offset))
    await stream.write(api.SaveStreamRequest(finish=api.SaveStreamFinish(size_bytes=size)))
    await stream.done_writing()
    return await stream


async def test_a_retry_takes_over_from_a_stream_that_is_still_open_on_the_server(stub):
    old, _ = await begun(stub)
    await old.write(chunk(b"abc"))
    new, at = await begun(stub)
    if at == "0:0":
        # The chunk had not arrived yet, and may never arrive.
        await new.write(chunk(b"abc"))
    assert await reason(old) == "UPLOAD_LOST"
    assert (await finished(new, 3, b"def", 6)).checkpoint.size_bytes == 6
    loaded = await stub.Load(api.LoadRequest(namespace="n", workflow_id="w"))
    assert loaded.parts[0].data == b"abcdef"


async def test_a_caller_that_cannot_read_early_metadata_calls_get_upload_first_and_continues(stub):
    (await received(stub, 5)).cancel()
    assert await position(stub) == (True, 0, 5, 5)
    stream, _ = await begun(stub, "0:5")
    assert (await finished(stream, 5, b"yz", 7)).checkpoint.size_bytes == 7
    assert await position(stub) == (False, 0, 0, 0)


@pytest.mark.parametrize("wrong", ["0:4", "0:6", "1:0", "0:0"])
async def test_a_wrong_position_is_refused_and_the_upload_stays(stub, wrong):
    (await received(stub, 5)).cancel()
    stream, _ = await begun(stub, wrong)
    assert await reason(stream) == "UPLOAD_LOST"
    assert await position(stub) == (True, 0, 5, 5)


async def test_a_position_on_a_server_without_the_upload_is_refused(stub):
    stream, _ = await begun(stub, "0:5")
    assert await reason(stream) == "UPLOAD_LOST"
    stream, _ = await begun(stub, "0:0")
    assert (await finished(stream, 0, b"x", 1)).checkpoint.revision == 1


async def test_of_two_uploads_of_one_request_the_fuller_one_is_kept(stub):
    full = await received(stub, 9)
    empty, _ = await begun(stub, "")
    await empty.write(chunk(b"x"))
    full.cancel()
    empty.cancel()
    assert await position(stub) == (True, 0, 9, 9)


async def test_uploads_of_one_namespace_do_not_evict_those_of_another(stub):
    (await received(stub, 3, namespace="quiet")).cancel()
    for number in range(80):
        stream, _ = await begun(stub, namespace="loud", request_id=f"r{number}")
        await stream.write(chunk(b"x"))
        stream.cancel()
    assert await position(stub, namespace="quiet") == (True, 0, 3, 3)


async def test_an_upload_is_found_only_by_its_own_namespace_and_workflow(stub):
    (await received(stub, 3)).cancel()
    assert (await position(stub, namespace="other"))[0] is False
    assert (await position(stub, workflow_id="other"))[0] is False
    assert (await position(stub))[0] is True


async def test_many_concurrent_retries_of_one_upload_commit_once(stub):
    (await received(stub, 3)).cancel()

    async def attempt():
        stream, received_to = await begun(stub)
        try:
            at = int(received_to.split(":")[1])
            return (await finished(stream, at, b"xxxyyy"[at:], 6)).checkpoint.revision
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, AttributeError):
            return None

    revisions = set()
    while not revisions:
        revisions = set(await asyncio.gather(*(attempt() for _ in range(5)))) - {None}
    assert revisions == {1}
    assert await attempt() == 1
