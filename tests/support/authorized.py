"""Calls with the credentials that a test chooses, without the SDK."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub

from tests.support.pipelines import PipelineCaller

OK = ("OK", "")
LIST = api.ListWorkflowsRequest(namespace="n")


class AuthorizedCaller:
    """A caller who sends an `authorization` header with each call.

    Attributes:
        stub: the methods of the service.

    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.stub: Any = CheckpointServiceStub(channel)

    async def outcome(self, header: str | None) -> tuple[str, str]:
        """Make a call, and return its reason and message; OK and "" if it succeeds."""
        return await outcome(self.stub.ListWorkflows(LIST, metadata=metadata(header)))

    async def with_token(self, token: str) -> tuple[str, str]:
        """Make a call with a bearer token, and return its reason and message."""
        return await self.outcome(f"Bearer {token}")

    @asynccontextmanager
    async def pipeline(self, token: str) -> AsyncIterator[PipelineCaller]:
        """Open a pipeline, and wait for its limits."""
        stream = self.stub.Pipeline(metadata=metadata(f"Bearer {token}"))
        pipeline = PipelineCaller(stream)
        await pipeline.limits()
        try:
            yield pipeline
        finally:
            stream.cancel()


@asynccontextmanager
async def authorized_caller(target: str) -> AsyncIterator[AuthorizedCaller]:
    async with grpc.aio.insecure_channel(target) as channel:
        yield AuthorizedCaller(channel)


def metadata(header: str | None) -> tuple[tuple[str, str], ...]:
    return () if header is None else (("authorization", header),)


async def outcome(call: Any) -> tuple[str, str]:
    """Return the reason and the message of a call; OK and "" if it succeeds."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        details = dict(error.trailing_metadata())["grpc-status-details-bin"]
        return reason_of(details), str(error.details())
    return OK


async def pipelined(pipeline: PipelineCaller, call_id: int) -> tuple[str, str]:
    """Make a call in a pipeline, and return its reason and message."""
    await pipeline.send(api.PipelineCall(call_id=call_id, list_workflows=LIST))
    answer = await pipeline.answer(call_id)
    if answer.WhichOneof("outcome") != "status":
        return OK
    return reason_of(answer.status), status_pb2.Status.FromString(answer.status).message


def reason_of(details: bytes) -> str:
    """Return the reason in the details of a status."""
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    return info.reason
