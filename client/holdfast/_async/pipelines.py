"""The pipelines of one channel of an asynchronous client; see `_core/pipeline.py` for what they send.

`_sync/pipelines.py` has the same interface. A pipeline has one task, which holds no reference to the client: a client
that is dropped without closing it frees its channels.
"""

import asyncio
import os
import weakref
from contextlib import suppress
from contextvars import Context
from typing import Any

import grpc

from holdfast._async.loop_ends import end_before_close
from holdfast._core import pipeline_calls
from holdfast._core.pipeline import FIRST_ANSWER_SECONDS, IDLE_SECONDS, LARGEST_REQUEST, Pipeline, PipelinesOfConnection
from holdfast._core.pipeline_calls import Call, CallError
from holdfast._core.tokens import Metadata
from holdfast.v1 import checkpoint_service_pb2 as api

# What gRPC raises if a message cannot be sent because the stream has ended. The reader learns why.
_ENDED = (grpc.RpcError, grpc.aio.UsageError, grpc.aio.InternalError, asyncio.InvalidStateError)

# The streams that are open in this process, and those that a fork ended.
_open: "weakref.WeakSet[Any]" = weakref.WeakSet()
_ended_by_fork: "weakref.WeakSet[Any]" = weakref.WeakSet()


def _before_fork() -> None:
    """End every stream: with an open one, what gRPC does after a fork may crash the new process."""
    for stream in list(_open):
        _ended_by_fork.add(stream)
        stream.cancel()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)


class Pipelines(PipelinesOfConnection):
    """The unary methods of the service, carried by pipelines where the server takes them.

    Args:
        channel: the channel of the running loop.
        stub: the methods of the service as unary calls.

    """

    def __init__(self, channel: grpc.aio.Channel, stub: Any) -> None:
        super().__init__()
        self._channel = channel
        # Timers and tasks that outlive a call must not keep what the caller's context refers to.
        self._context = Context()
        self._was_used = False
        self._is_closing = False
        self._closed: list[tuple[Pipeline, Any]] = []
        self._open_stream: Any = channel.stream_stream(
            pipeline_calls.METHOD, response_deserializer=api.PipelineResponse.FromString
        )
        self._stub = stub
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: weakref.WeakSet[Any] = weakref.WeakSet()

    async def call(self, method: str, request: Any, *, timeout: float, metadata: Metadata) -> Any:
        """Make a call and return its response.

        Args:
            method: the method's name in the service.
            request: the request.
            timeout: seconds.
            metadata: the call's metadata.

        Raises:
            RpcError: the call failed.

        """
        if self.allows() and pipeline_calls.is_carried(metadata):
            data = request.SerializeToString()
            if len(data) <= LARGEST_REQUEST:
                call = await self._carried(method, data, timeout, metadata)
                if not call.is_refused:
                    return call.result()
                timeout = call.seconds_left()
        return await getattr(self._stub, method)(request, timeout=timeout, metadata=metadata)

    async def close(self) -> None:
        """End every pipeline. Its calls wait for `finish`.

        Events of gRPC come in their order: after that of a last operation, none is left for this loop. A channel that
        was dropped is closed already.
        """
        self._is_closing = True
        if not self._was_used:
            return
        for stream in list(self._streams):
            stream.cancel()
        # A read that waits ends by its event: a task that is cancelled would leave that event to come later.
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(grpc.aio.UsageError):
            # Threads of gRPC may post the events of a stream shortly after those of its end.
            for _ in range(10):
                await self._channel.wait_for_state_change(grpc.ChannelConnectivity.SHUTDOWN)

    def finish(self) -> None:
        """Fail the calls of closed pipelines, once the calls outside of pipelines have ended too."""
        self._is_closing = False
        for pipeline, error in self._closed:
            self.ended(pipeline, error)
        self._closed.clear()

    def ended(self, pipeline: Pipeline, error: Any) -> None:
        """Decide the outcome of every open call of a pipeline after its stream ended."""
        if self._is_closing:
            self._closed.append((pipeline, error))
        else:
            super().ended(pipeline, error)

    async def _carried(self, method: str, data: bytes, timeout: float, metadata: Metadata) -> Call:
        loop = asyncio.get_running_loop()
        outcome = loop.create_future()

        def wake() -> None:
            # The task that waits may have been cancelled.
            if not outcome.done():
                outcome.set_result(None)

        call = Call(method, data, timeout, metadata, wake)
        self.add(call)
        timer = loop.call_later(timeout, call.expire, context=self._context)
        try:
            await outcome
        finally:
            timer.cancel()
            if not call.is_done:
                self.forget(call)
        return call

    def start(self, pipeline: Pipeline) -> None:
        """Open the stream of a pipeline."""
        self._context.run(self._start, pipeline)

    def _start(self, pipeline: Pipeline) -> None:
        stream = self._open_stream(metadata=pipeline.credentials)
        _open.add(stream)
        self._streams.add(stream)
        self._was_used = True
        woken = asyncio.Event()
        pipeline.wake = woken.set
        owner = weakref.ref(self)
        reader = asyncio.create_task(_run(stream, pipeline, owner, woken))
        self._tasks.add(reader)
        reader.add_done_callback(self._tasks.discard)
        end_before_close(asyncio.get_running_loop(), self)


async def _run(stream: Any, carried: Pipeline, owner: weakref.ref[Pipelines], woken: asyncio.Event) -> None:
    """Read the answers of a pipeline to its end, while another task sends its messages."""
    writer = asyncio.create_task(_write(stream, carried, owner, woken))
    error: Any = CallError(grpc.StatusCode.CANCELLED, "the pipeline was cancelled")
    try:
        # gRPC gives None for a message that cannot be parsed.
        while (response := await stream.read()) is not grpc.aio.EOF and response is not None:
            if (pipelines := owner()) is None:
                return
            pipelines.received(carried, response)
            del pipelines
        error = None
    except _ENDED as caught:
        error = caught if isinstance(caught, grpc.RpcError) else error
    except asyncio.CancelledError:
        # A channel that is closed cancels its streams, not the tasks that read them.
        if _is_cancelled():
            raise
        if stream in _ended_by_fork:
            error = CallError(grpc.StatusCode.UNAVAILABLE, "the process was forked")
    finally:
        _open.discard(stream)
        stream.cancel()
        if (pipelines := owner()) is not None:
            pipelines.ended(carried, error)
        # Its traceback refers to this frame. Without the cycle, the stream and its channel are freed at once.
        del error, pipelines
        writer.cancel()
        await asyncio.wait([writer])


async def _write(stream: Any, carried: Pipeline, owner: weakref.ref[Pipelines], woken: asyncio.Event) -> None:
    checks: list[asyncio.TimerHandle] = []
    try:
        while (message := carried.message()) is not None:
            if not message:
                woken.clear()
                await woken.wait()
                continue
            await stream.write(message)
            if not carried.has_sent:
                carried.has_sent = True
                _check_later(checks, carried, owner)
        with suppress(*_ENDED):
            await stream.done_writing()
    except _ENDED:
        pass
    except BaseException:
        stream.cancel()
        raise
    finally:
        for check in checks:
            check.cancel()


def _check_later(checks: list[asyncio.TimerHandle], carried: Pipeline, owner: weakref.ref[Pipelines]) -> None:
    loop = asyncio.get_running_loop()
    checks.append(loop.call_later(IDLE_SECONDS, _check_idle, checks, carried, owner))
    checks.append(loop.call_later(FIRST_ANSWER_SECONDS, _check_first_answer, carried, owner))


def _check_idle(checks: list[asyncio.TimerHandle], carried: Pipeline, owner: weakref.ref[Pipelines]) -> None:
    if (pipelines := owner()) is not None:
        pipelines.check_idle(carried)
        checks[0] = asyncio.get_running_loop().call_later(IDLE_SECONDS, _check_idle, checks, carried, owner)


def _check_first_answer(carried: Pipeline, owner: weakref.ref[Pipelines]) -> None:
    if (pipelines := owner()) is not None:
        pipelines.check_first_answer(carried)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
