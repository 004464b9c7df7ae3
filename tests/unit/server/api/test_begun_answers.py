"""A call that has begun to answer when it is ended gets its status."""

import asyncio

import grpc
import pytest
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server.api import failures
from holdfast_server.api.grpc_methods import add_to_server
from holdfast_server.protocol.errors import HoldfastError, Reason

_METHOD = "/holdfast.v1.CheckpointService/LoadStream"


class Ended:
    """A service whose stream is cancelled while it begins its answer, and then fails."""

    def __init__(self, begin):
        self.begin = begin

    async def load_stream(self, request, stream):
        asyncio.current_task().cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.begin(stream)
        asyncio.current_task().uncancel()
        error = HoldfastError(Reason.PERMISSION_DENIED, "no more")
        raise failures.failed_call(error, method=_METHOD, request_id="", trace_id="")

    def __getattr__(self, name):
        return lambda *_: None


@pytest.mark.parametrize("message_bytes", [0, 1_000_000])
@pytest.mark.parametrize("name", ["send_initial_metadata", "write"])
async def test_a_call_that_is_ended_while_it_begins_its_answer_gets_its_status(name, message_bytes):
    async def begin(stream):
        if name == "write":
            await stream.write(api.LoadStreamResponse(chunk={"data": bytes(message_bytes)}))
        else:
            await stream.send_initial_metadata((("key", "v" * (message_bytes // 1000)),))

    service = Ended(begin)
    server = grpc.aio.server()
    add_to_server(service, service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = CheckpointServiceStub(channel).LoadStream(api.LoadStreamRequest(), timeout=60)
            with pytest.raises(grpc.aio.AioRpcError, match="no more"):
                _ = [message async for message in call]
    finally:
        await server.stop(None)
