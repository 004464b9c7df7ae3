"""One pipeline: reads calls, starts them, and sends their answers.

Calls in flight are those whose answer the caller has not read. Their number and their bytes are bounded: beyond that
the pipeline stops reading. A caller that keeps to the limits is always read, so that its cancellations arrive.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial

from google.rpc import code_pb2, status_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server import telemetry
from holdfast_server.api import failures, limits
from holdfast_server.api.admission import PipelinePermit
from holdfast_server.api.call import METHOD_PREFIX
from holdfast_server.api.call_context import StreamContext
from holdfast_server.api.errors import CallFailedError, InvalidRequestError
from holdfast_server.api.pipeline.answers import STATUS, Answer, Answers
from holdfast_server.api.pipeline.received import ReceivedCall, parse, take_apart
from holdfast_server.api.service import CheckpointService
from holdfast_server.protocol.errors import HoldfastError, Reason

METHOD = f"{METHOD_PREFIX}Pipeline"

# How much the age of a pipeline varies, so that callers that came together do not leave together.
_AGE_JITTER = 0.1
_CANCELLED = status_pb2.Status(code=code_pb2.CANCELLED, message="the caller cancelled the call").SerializeToString()


class Pipeline:
    """One pipeline.

    Args:
        service: serves its calls.
        permit: what the pipeline holds while it is open.
        stream: the stream.
        age_seconds: time after which the pipeline says that it goes away.

    """

    def __init__(
        self, service: CheckpointService, permit: PipelinePermit, stream: StreamContext, age_seconds: float
    ) -> None:
        self._service = service
        self._permit = permit
        self._stream = stream
        self._age_seconds = age_seconds * random.uniform(1 - _AGE_JITTER, 1 + _AGE_JITTER)
        self._answers = Answers(self._sent)
        self._running: dict[int, asyncio.Task[tuple[int, bytes]]] = {}
        self._in_flight = 0
        self._held_bytes = 0
        self._has_room = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._waiting: asyncio.Timeout | None = None
        self._reads = True
        self._is_going_away = False
        self._loop = asyncio.get_running_loop()
        self._opened_at = self._used_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None

    async def serve(self, messages: AsyncIterator[bytes]) -> None:
        """Serve until the caller ends the stream, or some time after the pipeline has said that it goes away.

        Args:
            messages: the messages of the caller.

        Raises:
            HoldfastError: INVALID_REQUEST: a message is not valid. DEADLINE_EXCEEDED: the caller does not read.
            CallerGoneError: the caller has vanished.

        """
        self._answers.announce(api.PipelineResponse(limits=self._limits()))
        self._sending = asyncio.create_task(self._answers.send_to(self._stream))
        self._check_time()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._require_reader())
                await self._read(messages, group)
                await self._is_idle.wait()
                self._answers.finish()
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        except asyncio.CancelledError:
            self._sending.cancel()
            raise
        finally:
            self._answers.discard()
            if self._timer is not None:
                self._timer.cancel()

    async def settle(self) -> None:
        """Wait until the caller has accepted the last message, or has vanished. No status can be sent before."""
        if self._sending is None:
            return
        try:
            await asyncio.wait((self._sending,))
        except asyncio.CancelledError:
            self._sending.cancel()
            raise

    async def _require_reader(self) -> None:
        """Watch the sending of answers until it ends.

        Raises:
            HoldfastError: DEADLINE_EXCEEDED: the caller does not read.
            CallerGoneError: the caller has vanished.

        """
        assert self._sending is not None
        while not self._sending.done():
            await asyncio.wait((self._sending,), timeout=limits.IDLE_SECONDS / 4)
            if self._answers.is_stuck:
                idle = limits.IDLE_SECONDS
                problem = f"the caller read nothing for {idle:.0f} s"
                raise HoldfastError(Reason.DEADLINE_EXCEEDED, problem, idle_seconds=idle)
        self._sending.result()

    def drain(self) -> None:
        """Say that the pipeline goes away because the server shuts down. Calls that still arrive are refused."""
        self._go_away(api.PipelineGoingAway(), limits.PIPELINE_DRAIN_SECONDS)

    def _limits(self) -> api.PipelineLimits:
        stated = api.PipelineLimits(calls=self._permit.max_calls, bytes=self._permit.max_bytes)
        stated.age.FromMilliseconds(int(self._age_seconds * 1000))
        stated.idle.FromMilliseconds(int(limits.PIPELINE_IDLE_SECONDS * 1000))
        return stated

    def _check_time(self) -> None:
        """Go away if the pipeline is too old or was idle for too long. Otherwise check again when that may be so."""
        now = self._loop.time()
        idle_at = (now if self._in_flight else self._used_at) + limits.PIPELINE_IDLE_SECONDS
        next_at = min(self._opened_at + self._age_seconds, idle_at)
        if now < next_at:
            self._timer = self._loop.call_at(next_at, self._check_time)
            return
        notice = api.PipelineGoingAway()
        notice.grace.FromMilliseconds(int(limits.PIPELINE_GRACE_SECONDS * 1000))
        self._go_away(notice, limits.PIPELINE_GRACE_SECONDS)

    def _go_away(self, notice: api.PipelineGoingAway, seconds: float) -> None:
        """Say that the pipeline goes away, unless it has said so, and stop reading after some seconds."""
        if not self._is_going_away:
            self._is_going_away = True
            self._answers.announce(api.PipelineResponse(going_away=notice))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._stop_reading)

    def _stop_reading(self) -> None:
        self._reads = False
        if self._waiting is not None:
            self._waiting.reschedule(self._loop.time())

    async def _read(self, messages: AsyncIterator[bytes], group: asyncio.TaskGroup) -> None:
        """Start the calls of each message, until the caller ends the stream or the pipeline stops reading."""
        while (raw := await self._next(messages)) is not None:
            calls, cancelled = take_apart(raw)
            for call_id in cancelled:
                if call_id in self._running:
                    self._running[call_id].cancel()
            for index, each in enumerate(calls, 1):
                await self._room()
                call = parse(each, self._stream)
                if call.call_id in self._running:
                    raise InvalidRequestError("calls.call_id", f"{call.call_id} is in flight already")
                await self._permit.turns.acquire()
                self._start(call, group)
                if index % limits.GROUPED_CALLS == 0:
                    # Let these reach the store before further ones are parsed.
                    await asyncio.sleep(0)

    async def _next(self, messages: AsyncIterator[bytes]) -> bytes | None:
        """Return the next message; None at the end of the stream, and once the pipeline stops reading."""
        if not self._reads:
            return None
        try:
            async with asyncio.timeout(None) as self._waiting:
                return await anext(messages, None)
        except TimeoutError:
            return None
        finally:
            self._waiting = None

    async def _room(self) -> None:
        """Wait until the pipeline may have another call in flight."""
        while self._in_flight >= self._permit.max_calls or self._held_bytes >= self._permit.max_bytes:
            self._has_room.clear()
            await self._has_room.wait()

    def _start(self, call: ReceivedCall, group: asyncio.TaskGroup) -> None:
        self._in_flight += 1
        self._is_idle.clear()
        self._held_bytes += call.size_bytes
        task = group.create_task(self._outcome(call))
        self._running[call.call_id] = task
        task.add_done_callback(partial(self._ended, call.call_id, call.size_bytes))

    async def _outcome(self, call: ReceivedCall) -> tuple[int, bytes]:
        """Serve a call. Return the field number of its outcome in the answer, and the outcome as bytes."""
        try:
            if isinstance(call.method, HoldfastError):
                trace_id = telemetry.trace_id_of(call.context.headers)
                raise failures.failed_call(call.method, method=METHOD, request_id="", trace_id=trace_id)
            response = await self._service.unary(call.method.name, call.request, call.context)
        except CallFailedError as failed:
            return STATUS, failed.status.SerializeToString()
        return call.method.number, response.SerializeToString()

    def _ended(self, call_id: int, size_bytes: int, task: asyncio.Task[tuple[int, bytes]]) -> None:
        """Send the answer of a call that has ended."""
        del self._running[call_id]
        self._permit.turns.release()
        if task.cancelled():
            outcome = STATUS, _CANCELLED
        elif task.exception() is not None:
            # The task group ends the pipeline.
            return
        else:
            outcome = task.result()
        answer = Answer.of(call_id, *outcome)
        self._held_bytes += answer.size_bytes - size_bytes
        self._permit.count_unsent(answer.size_bytes)
        self._answers.add(answer)

    def _sent(self, count: int, size_bytes: int) -> None:
        """Forget answers that the caller has accepted."""
        self._held_bytes -= size_bytes
        self._permit.count_unsent(-size_bytes)
        self._in_flight -= count
        self._has_room.set()
        if not self._in_flight:
            self._used_at = self._loop.time()
            self._is_idle.set()
