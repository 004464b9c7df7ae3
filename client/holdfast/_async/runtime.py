"""The parts of the client that differ between asyncio and threads: channels, pauses, streams; see also `blocking`.

`_sync/runtime.py` has the same interface. An `AsyncClient` belongs to no event loop: each loop that it is used on has a
channel of its own, which the first call on it opens, and which is closed with the loop or with the client.
"""

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, ClassVar, TypeVar

import grpc
from grpc.aio import UsageError

from holdfast._async.blocking import in_thread
from holdfast._async.pipelines import Pipelines
from holdfast._async.stream_ends import StreamEnd
from holdfast._core import forks, targets
from holdfast._core.errors import HoldfastError, closed, of_reason
from holdfast._core.handshakes import Suspicions
from holdfast._core.payload import RECEIVED_KEY
from holdfast._core.pipeline_calls import METHODS
from holdfast._core.statuses import from_rpc_error
from holdfast._core.tls import Security
from holdfast._core.watches import ENDED, LATE
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub

_Result = TypeVar("_Result")
_Message = TypeVar("_Message")

# What gRPC raises instead of an RpcError if a call meets a channel that is being closed.
_FAULTS_OF_GRPC = (UsageError, grpc.aio.InternalError, asyncio.InvalidStateError)

_FORKED = (
    "this process was forked while an AsyncClient was open, which gRPC's asyncio library does not survive: start "
    "processes by the methods 'spawn' or 'forkserver', close the client before the fork, or use holdfast.Client"
)


class Channels:
    """The channels of an asynchronous client, one for each event loop.

    Args:
        target: the server.
        options: the options of each channel.
        security: how the connections are protected; None for plaintext.
        pipelines: whether small calls go through pipelines.

    Attributes:
        stub: the methods of the service.

    """

    def __init__(
        self,
        target: str,
        options: list[tuple[str, Any]],
        security: Security | None,
        *,
        pipelines: bool,
    ) -> None:
        self._target = target
        self._options = options
        self._security = security
        self._suspicions = Suspicions(target, security)
        self._lock = threading.Lock()
        self.stub: Any = _Methods(self, METHODS if pipelines else ())
        self._open: dict[asyncio.AbstractEventLoop, _Channel] = {}
        self.is_closed = False

    def current(self) -> "_Channel":
        """Return the running loop's channel. Open it if the loop has none yet.

        Raises:
            ClientClosedError: the client was closed, or the process was forked while a client was open.
            RuntimeError: no asyncio event loop is running.

        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("an AsyncClient works on a running asyncio event loop only") from None
        with self._lock:
            if self.is_closed:
                raise closed()
            channel = self._open.get(loop)
            if channel is None:
                if _Fork.was_open:
                    raise closed(_FORKED)
                self._forget_closed_loops()
                channel = self._open[loop] = _Channel(
                    self._target, self._options, self._security, loop, weakref.ref(self)
                )
            return channel

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Remove the channel of a loop that ends."""
        with self._lock:
            self._open.pop(loop, None)

    async def close(self) -> None:
        """Close every channel. Channels of other running loops are closed on those loops, soon after."""
        here = asyncio.get_running_loop()
        with self._lock:
            self.is_closed = True
            channels, self._open = self._open, {}
        for loop, channel in channels.items():
            if loop is here:
                await channel.close()
            else:
                # A loop that has just ended has closed its channel itself.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(channel.close_soon)

    async def pause(self, seconds: float) -> None:
        """Wait between two attempts.

        Raises:
            ClientClosedError: the client was closed.

        """
        closing = self.current().closing
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await closing.wait()
        self.current()

    async def explained(self, error: HoldfastError, left_seconds: float) -> HoldfastError:
        """Return the error of an attempt, or one that says why each connection is closed at once if that can be found.

        Args:
            error: the error.
            left_seconds: the time that is left of the call.

        """
        if not self._suspicions.apply_to(error, left_seconds):
            return error
        return await in_thread(self._suspicions.explained, error, left_seconds)

    @contextmanager
    def border(self, *, trace_id: str, request_id: str) -> Iterator[None]:
        """Convert the exceptions of an attempt to errors of the SDK.

        gRPC ends a call of a closed channel by cancelling it, among other ways. If the caller's task was cancelled
        itself, it has more cancellation requests than before.
        """
        self.current()
        task = asyncio.current_task()
        before = task.cancelling() if task is not None else 0
        try:
            yield
        except asyncio.CancelledError:
            if self.is_closed and (task is None or task.cancelling() == before):
                raise closed(trace_id=trace_id, request_id=request_id) from None
            raise
        except HoldfastError:
            raise
        except Exception as error:
            if self.is_closed:
                raise closed(trace_id=trace_id, request_id=request_id) from error
            if isinstance(error, grpc.RpcError):
                proxy = targets.proxy_of(self._target)
                raise from_rpc_error(error, trace_id=trace_id, request_id=request_id, proxy=proxy) from None
            if isinstance(error, _FAULTS_OF_GRPC):
                raise of_reason("INTERNAL", f"the gRPC library failed: {error!r}", request_id=request_id) from error
            raise

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in self._open if loop.is_closed()]:
            del self._open[loop]


class _Methods:
    """The methods of the service, on the running loop's channel."""

    def __init__(self, channels: Channels, pipelined: Collection[str]) -> None:
        self._channels = channels
        self._pipelined = pipelined

    def __getattr__(self, name: str) -> Any:
        channel = self._channels.current()
        if name in self._pipelined:
            return partial(channel.pipelines.call, name)
        return getattr(channel.stub, name)


class _Channel:
    """The channel of one event loop."""

    def __init__(
        self,
        target: str,
        options: list[tuple[str, Any]],
        security: Security | None,
        loop: asyncio.AbstractEventLoop,
        owner: weakref.ref[Channels],
    ) -> None:
        self.closing = asyncio.Event()
        if security is None:
            channel = grpc.aio.insecure_channel(target, options=options)
        else:
            channel = grpc.aio.secure_channel(target, security.credentials(), options=[*options, *security.options()])
        self.stub: Any = CheckpointServiceStub(channel)
        self.pipelines = Pipelines(channel, self.stub)
        self._loop = loop
        self._ending: asyncio.Task[None] | None = None
        # When a loop ends, it closes the generators that were started on it. That closes the channel in time.
        self._keeper = _keep(channel, self.pipelines, self.closing, loop, owner)
        _begin(self._keeper.__anext__())
        _Fork.opened.add(self)

    async def close(self) -> None:
        await self._keeper.aclose()

    def close_soon(self) -> None:
        self._ending = self._loop.create_task(self.close())


async def _keep(
    channel: grpc.aio.Channel,
    pipelines: Pipelines,
    closing: asyncio.Event,
    loop: asyncio.AbstractEventLoop,
    owner: weakref.ref[Channels],
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        closing.set()
        if (channels := owner()) is not None:
            channels.forget(loop)
        # All running calls end at the same time: the first error must not cancel the others.
        try:
            await pipelines.close()
            await channel.close()
        finally:
            forks.channel_closed()
            pipelines.finish()


def _begin(step: Coroutine[Any, Any, None]) -> None:
    """Run a generator to its first yield. It does not wait before that."""
    with suppress(StopIteration):
        step.send(None)


class _Fork:
    """The channels that the parent process had open when it forked."""

    opened: ClassVar["weakref.WeakSet[_Channel]"] = weakref.WeakSet()
    inherited: ClassVar["list[_Channel]"] = []
    was_open = False

    @classmethod
    def after_in_child(cls) -> None:
        """Keep the parent's channels referenced: closing one here would break the parent's connection."""
        cls.inherited += [channel for channel in cls.opened if not channel.closing.is_set()]
        cls.was_open = bool(cls.inherited)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Fork.after_in_child)


async def next_message(stream: Any, seconds: float | None) -> Any:
    """Return the next message of a stream, `ENDED` at its end, or `LATE` if no message comes in time.

    Args:
        stream: the stream. It must not be read any more after `LATE`.
        seconds: how long to wait; None for as long as the stream lasts.

    Raises:
        RpcError: the stream broke.

    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await anext(aiter(stream), ENDED)
    except TimeoutError:
        if limit.expired():
            return LATE
        raise


async def send_stream(
    method: Any, first: _Message, rest: Callable[[str], Iterator[_Message]], *, resumes: bool, **options: Any
) -> Any:
    """Send a stream and wait for its answer.

    Args:
        method: the stub's method.
        first: the first message.
        rest: returns the other messages, given the position up to which the server has received the payload.
        resumes: whether to wait for that position from the server; else it is "".
        options: the options of the call.

    Raises:
        RpcError: the call failed.
        Exception: `rest` raised it, such as an OSError of a file that cannot be read.

    """
    call: Any = None
    failures: list[Exception] = []
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0

    async def messages() -> AsyncIterator[_Message]:
        try:
            yield first
            received = dict(await call.initial_metadata()).get(RECEIVED_KEY, "") if resumes else ""
            async for message in _iterate(rest(received)):
                yield message
        except Exception as error:
            failures.append(error)
            raise

    call = method(messages(), **options)
    end = StreamEnd(call)
    try:
        return await call
    except grpc.aio.AioRpcError as raised:
        raise end.error(raised) from None
    except asyncio.CancelledError:
        # gRPC cancels a call whose messages raised.
        if failures and task is not None and task.cancelling() == before:
            raise failures[0] from None
        raise


async def _iterate(messages: Iterator[_Result]) -> AsyncIterator[_Result]:
    """Iterate over messages. Each is made in a thread, because that may read a file, while the one before is sent."""
    done = object()
    making = asyncio.ensure_future(asyncio.to_thread(next, messages, done))
    try:
        while (message := await asyncio.shield(making)) is not done:
            making = asyncio.ensure_future(asyncio.to_thread(next, messages, done))
            yield message  # type: ignore[misc]
    finally:
        # A thread cannot be stopped, and its file must not be read by two of them.
        await asyncio.gather(making, return_exceptions=True)
