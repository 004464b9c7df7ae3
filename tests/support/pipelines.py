"""A pipeline as a caller without the SDK holds it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub


class PipelineCaller:
    """An open pipeline. Answers are kept by the id of their call until someone takes them."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.messages: list[api.PipelineResponse] = []
        self._answers: dict[int, api.PipelineAnswer] = {}

    async def send(self, *calls: api.PipelineCall, cancelled: tuple[int, ...] = ()) -> None:
        """Send calls and cancellations in one message."""
        await self.stream.write(api.PipelineRequest(calls=calls, cancelled_call_ids=cancelled))

    async def receive(self) -> api.PipelineResponse | None:
        """Receive a message; None at the end of the stream."""
        message = await self.stream.read()
        if message is grpc.aio.EOF:
            return None
        self.messages.append(message)
        for answer in message.answers:
            assert answer.call_id not in self._answers, f"{answer.call_id} is answered twice"
            self._answers[answer.call_id] = answer
        return message

    async def answer(self, call_id: int) -> api.PipelineAnswer:
        """Return the answer to a call, and forget it."""
        while call_id not in self._answers:
            assert await self.receive() is not None, f"the stream ended without an answer to {call_id}"
        return self._answers.pop(call_id)

    async def answers(self, *call_ids: int) -> list[api.PipelineAnswer]:
        """Return the answers to calls, in the order of the ids."""
        return [await self.answer(call_id) for call_id in call_ids]

    async def going_away(self) -> api.PipelineGoingAway:
        """Wait until the server says that the pipeline goes away."""
        while not (self.messages and self.messages[-1].HasField("going_away")):
            assert await self.receive() is not None, "the stream ended first"
        return self.messages[-1].going_away

    async def limits(self) -> api.PipelineLimits:
        """Return the limits of the first message."""
        if not self.messages:
            await self.receive()
        return self.messages[0].limits

    async def end(self) -> grpc.StatusCode:
        """Close the pipeline for sending, read the rest, and return its status code."""
        await self.stream.done_writing()
        return await self.ended()

    async def ended(self) -> grpc.StatusCode:
        """Read until the stream ends, and return its status code."""
        while await self.receive() is not None:
            pass
        return await self.stream.code()


@asynccontextmanager
async def pipeline(target: str, **options: Any) -> AsyncIterator[PipelineCaller]:
    """Open a pipeline on a connection of its own."""
    channel_options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 8 << 20))
    async with grpc.aio.insecure_channel(target, options=channel_options) as channel:
        yield PipelineCaller(CheckpointServiceStub(channel).Pipeline(**options))


def status(answer: api.PipelineAnswer) -> status_pb2.Status:
    """Return the status of an answer to a failed call."""
    assert answer.WhichOneof("outcome") == "status", answer
    return status_pb2.Status.FromString(answer.status)


def reason(answer: api.PipelineAnswer) -> str:
    """Return the reason of an answer to a failed call; "CANCELLED" if the caller cancelled it."""
    failed = status(answer)
    if failed.code == grpc.StatusCode.CANCELLED.value[0]:
        return "CANCELLED"
    info = error_details_pb2.ErrorInfo()
    assert any(each.Unpack(info) for each in failed.details)
    return info.reason


def field(answer: api.PipelineAnswer) -> str:
    """Return the field that an answer to an invalid call names."""
    request = error_details_pb2.BadRequest()
    assert any(each.Unpack(request) for each in status(answer).details)
    return request.field_violations[0].field
