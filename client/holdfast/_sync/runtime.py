"""The parts of the client that differ between asyncio and threads; `_async/runtime.py` has the same interface."""

import os
import threading
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import grpc

from holdfast._core import forks, targets
from holdfast._core.errors import HoldfastError, closed, of_reason
from holdfast._core.handshakes import Suspicions
from holdfast._core.payload import RECEIVED_KEY
from holdfast._core.pipeline_calls import METHODS
from holdfast._core.statuses import from_rpc_error
from holdfast._core.tls import Security
from holdfast._core.watches import ENDED, FORKED, LATE
from holdfast._sync.blocking import in_thread
from holdfast._sync.pipelines import Pipelines
from holdfast._sync.watch_streams import WatchStreams, was_ended_by_fork
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub

_Message = TypeVar("_Message")

# What gRPC raises instead of an RpcError.
_FAULTS_OF_GRPC = (grpc.FutureCancelledError, grpc.FutureTimeoutError)


class Channels:
    """The channel of a synchronous client. Any thread may use it; a forked process has one of its own.

    Args:
        target: the server.
        options: the options of the channel.
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
        self._open: dict[int, _Channel] = {}
        self._closing = threading.Event()
        self._held: _Channel | None = None
        _CLIENTS.add(self)

    def before_fork(self) -> None:
        """End the streams that stay open: gRPC prepares itself for a fork only if none of its threads is at work."""
        channel = self._open.get(os.getpid())
        if channel is not None:
            channel.before_fork()
            self._held = channel

    def after_fork_in_parent(self) -> None:
        """Let calls go on."""
        held, self._held = self._held, None
        if held is not None:
            held.after_fork_in_parent()

    def after_fork(self) -> None:
        """Replace the locks after a fork: another thread may have held one, and this process does not have it."""
        self._lock = threading.Lock()
        self._held = None
        was_closed, self._closing = self._closing.is_set(), threading.Event()
        if was_closed:
            self._closing.set()

    @property
    def is_closed(self) -> bool:
        """Whether the client was closed."""
        return self._closing.is_set()

    def current(self) -> "_Channel":
        """Return this process's channel. Open it if there is none yet.

        Raises:
            ClientClosedError: the client was closed.

        """
        with self._lock:
            if self.is_closed:
                raise closed()
            channel = self._open.get(os.getpid())
            if channel is None:
                channel = self._open[os.getpid()] = _Channel(self._target, self._options, self._security)
            return channel

    def close(self) -> None:
        """Close the channel. A channel that a parent process opened stays open, for the parent."""
        with self._lock:
            self._closing.set()
            channel = self._open.pop(os.getpid(), None)
        if channel is not None:
            channel.close()

    def pause(self, seconds: float) -> None:
        """Wait between two attempts.

        Raises:
            ClientClosedError: the client was closed.

        """
        self._closing.wait(seconds)
        self.current()

    def explained(self, error: HoldfastError, left_seconds: float) -> HoldfastError:
        """Return the error of an attempt, or one that says why each connection is closed at once if that can be found.

        Args:
            error: the error.
            left_seconds: the time that is left of the call.

        """
        if not self._suspicions.apply_to(error, left_seconds):
            return error
        return in_thread(self._suspicions.explained, error, left_seconds)

    @contextmanager
    def border(self, *, trace_id: str, request_id: str) -> Iterator[None]:
        """Convert the exceptions of an attempt to errors of the SDK."""
        self.current()
        try:
            yield
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


_CLIENTS: "weakref.WeakSet[Channels]" = weakref.WeakSet()


def _before_fork() -> None:
    for channels in list(_CLIENTS):
        channels.before_fork()


def _after_fork_in_parent() -> None:
    for channels in list(_CLIENTS):
        channels.after_fork_in_parent()


def _after_fork_in_child() -> None:
    for channels in list(_CLIENTS):
        channels.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


class _Methods:
    """The methods of the service, on this process's channel."""

    def __init__(self, channels: Channels, pipelined: Collection[str]) -> None:
        self._channels = channels
        self._pipelined = pipelined

    def __getattr__(self, name: str) -> Any:
        channel = self._channels.current()
        if name in self._pipelined:
            return partial(channel.pipelines.call, name)
        if name == "WatchWorkflow":
            return channel.watches.open
        return getattr(channel.stub, name)


class _Channel:
    """A channel and its stub."""

    def __init__(self, target: str, options: list[tuple[str, Any]], security: Security | None) -> None:
        if security is None:
            self._channel = grpc.insecure_channel(target, options=options)
        else:
            self._channel = grpc.secure_channel(target, security.credentials(), options=[*options, *security.options()])
        self.stub: Any = CheckpointServiceStub(self._channel)
        self.pipelines = Pipelines(self._channel, self.stub)
        self.watches = WatchStreams(self.stub)

    def before_fork(self) -> None:
        self.pipelines.before_fork()
        self.watches.before_fork()

    def after_fork_in_parent(self) -> None:
        self.watches.after_fork_in_parent()
        self.pipelines.after_fork_in_parent()

    def close(self) -> None:
        self._channel.close()
        forks.channel_closed()


def next_message(stream: Any, seconds: float | None) -> Any:
    """Return the next message of a stream; `ENDED` at its end, `FORKED`, or `LATE` if there is none in time.

    Args:
        stream: the stream. It must not be read any more after `FORKED` or `LATE`.
        seconds: how long to wait; None for as long as the stream lasts.

    Raises:
        RpcError: the stream broke.

    """
    if seconds is None:
        return _next_message(stream)
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        stream.cancel()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        return _next_message(stream)
    except (grpc.RpcError, HoldfastError):
        if is_late.is_set():
            return LATE
        raise
    finally:
        timer.cancel()


def _next_message(stream: Any) -> Any:
    try:
        return next(stream, ENDED)
    except grpc.RpcError:
        if was_ended_by_fork(stream):
            return FORKED
        raise


def send_stream(
    method: Any, first: _Message, rest: Callable[[str], Iterator[_Message]], *, resumes: bool, **options: Any
) -> Any:
    """Send a stream and wait for its answer, as `_async/runtime.py` does."""
    started: SimpleQueue[Any] = SimpleQueue()
    failures: list[Exception] = []

    def messages() -> Iterator[_Message]:
        try:
            yield first
            call = started.get()
            yield from rest(dict(call.initial_metadata()).get(RECEIVED_KEY, "") if resumes else "")
        except Exception as error:
            failures.append(error)
            raise

    call = method.future(messages(), **options)
    started.put(call)
    try:
        return call.result()
    except grpc.RpcError:
        # gRPC fails a call whose messages raised.
        if failures:
            raise failures[0] from None
        raise
    except BaseException:
        call.cancel()
        raise
