"""A server of pipelines that does what a test scripts, for tests of clients. It answers unary calls as well."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.rpc import status_pb2
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceServicer, add_CheckpointServiceServicer_to_server

LIMITS = api.PipelineLimits(calls=100, bytes=4 << 20)

Script = Callable[["Stream", api.PipelineRequest], Awaitable[None]]


def saved(request: api.SaveRequest) -> api.SaveResponse:
    """Return the answer to a save."""
    header = request.header
    parts = [checkpoint_pb2.PartInfo(name=part.name, size_bytes=len(part.data)) for part in request.parts]
    size = sum(part.size_bytes for part in parts)
    checkpoint = checkpoint_pb2.Checkpoint(
        namespace=header.namespace,
        workflow_id=header.workflow_id,
        checkpoint_id=header.checkpoint_id or "c",
        revision=1,
        format=header.format,
        parts=parts,
        size_bytes=size,
    )
    return api.SaveResponse(checkpoint=checkpoint)


def answer(call: api.PipelineCall) -> api.PipelineAnswer:
    """Return the answer to a save of a pipeline."""
    return api.PipelineAnswer(call_id=call.call_id, save=saved(call.save))


def failure(call: api.PipelineCall, code: grpc.StatusCode, message: str) -> api.PipelineAnswer:
    """Return an answer that says that a call failed, without details."""
    status = status_pb2.Status(code=code.value[0], message=message)
    return api.PipelineAnswer(call_id=call.call_id, status=status.SerializeToString())


async def answer_all(stream: "Stream", request: api.PipelineRequest) -> None:
    """Answer every call of a message."""
    if request.calls:
        await stream.send(*[answer(call) for call in request.calls])


class Stream:
    """One pipeline, as the server sees it.

    Attributes:
        number: 0 for the first pipeline of the server.
        requests: the messages that have arrived.
        is_half_closed: set when the client has closed it for sending.

    """

    def __init__(self, number: int, context: Any) -> None:
        self.number = number
        self.requests: list[api.PipelineRequest] = []
        self.is_half_closed = asyncio.Event()
        self._context = context
        self._writing = asyncio.Lock()

    async def send(self, *answers: api.PipelineAnswer, **fields: Any) -> None:
        async with self._writing:
            await self._context.write(api.PipelineResponse(answers=answers, **fields))

    async def abort(self, code: grpc.StatusCode, details: str = "") -> None:
        await self._context.abort(code, details)

    @property
    def calls(self) -> list[api.PipelineCall]:
        return [call for request in self.requests for call in request.calls]


class ScriptedServer(CheckpointServiceServicer):
    """Serves saves, as unary calls and in pipelines.

    Attributes:
        on_message: what a pipeline does with each message; answers everything unless a test replaces it.
        on_open: what a pipeline does first; states the limits unless a test replaces it.
        streams: the pipelines, in the order in which they were opened.
        unary: the saves that came as unary calls.

    """

    def __init__(self) -> None:
        self.on_message: Script = answer_all
        self.on_open: Callable[[Stream], Awaitable[None]] = lambda stream: stream.send(limits=LIMITS)
        self.streams: list[Stream] = []
        self.unary: list[api.SaveRequest] = []
        self.target = ""
        self._arrived = asyncio.Event()

    async def Save(self, request: api.SaveRequest, context: Any) -> api.SaveResponse:  # noqa: N802
        self.unary.append(request)
        return saved(request)

    async def Pipeline(self, requests: AsyncIterator[api.PipelineRequest], context: Any) -> None:  # noqa: N802
        stream = Stream(len(self.streams), context)
        self.streams.append(stream)
        await self.on_open(stream)
        try:
            async with asyncio.TaskGroup() as group:
                async for request in requests:
                    stream.requests.append(request)
                    self._arrived.set()
                    group.create_task(self.on_message(stream, request))
                stream.is_half_closed.set()
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the messages that have arrived is true."""
        while not condition():
            self._arrived.clear()
            await self._arrived.wait()

    @property
    def sizes(self) -> list[list[int]]:
        """How many calls each message of each pipeline had."""
        return [[len(request.calls) for request in stream.requests if request.calls] for stream in self.streams]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ScriptedServer"]:
        server = grpc.aio.server()
        add_CheckpointServiceServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self.target = f"127.0.0.1:{port}"
        try:
            yield self
        finally:
            await server.stop(0)
