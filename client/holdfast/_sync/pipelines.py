"""The pipelines of one channel of a synchronous client; see `_core/pipeline.py` for what they send.

`_async/pipelines.py` has the same interface. A pipeline has two threads: gRPC's, which asks for the next message, and
one that reads the answers. One lock guards the state of all pipelines of a channel.
"""

import threading
import time
from collections.abc import Iterator
from contextvars import Context
from typing import Any

import grpc

from holdfast._core import pipeline_calls
from holdfast._core.pipeline import FIRST_ANSWER_SECONDS, IDLE_SECONDS, LARGEST_REQUEST, Pipeline, PipelinesOfConnection
from holdfast._core.pipeline_calls import Call, CallError
from holdfast._core.tokens import Metadata
from holdfast.v1 import checkpoint_service_pb2 as api

# How long a fork waits for the end of a pipeline.
_END_SECONDS = 1.0


class Pipelines(PipelinesOfConnection):
    """The unary methods of the service, carried by pipelines where the server takes them.

    Args:
        channel: the channel.
        stub: the methods of the service as unary calls.

    """

    def __init__(self, channel: grpc.Channel, stub: Any) -> None:
        super().__init__()
        self._open_stream: Any = channel.stream_stream(
            pipeline_calls.METHOD, response_deserializer=api.PipelineResponse.FromString
        )
        self._stub = stub
        self._lock = threading.Lock()
        # Held during a fork.
        self._gate = threading.Lock()
        self._readers: dict[Pipeline, tuple[threading.Thread, Any]] = {}

    def call(self, method: str, request: Any, *, timeout: float, metadata: Metadata) -> Any:
        """Make a call and return its response, as `_async/pipelines.py` does."""
        if self.allows() and pipeline_calls.is_carried(metadata):
            data = request.SerializeToString()
            if len(data) <= LARGEST_REQUEST:
                call = self._carried(method, data, timeout, metadata)
                if not call.is_refused:
                    return call.result()
                timeout = call.seconds_left()
        return getattr(self._stub, method)(request, timeout=timeout, metadata=metadata)

    def before_fork(self) -> None:
        """End the pipelines and let calls wait, so that no thread of gRPC is inside its library during the fork.

        Calls in flight are retried once the fork is done.
        """
        self._gate.acquire()
        with self._lock:
            readers = list(self._readers.values())
        for _, stream in readers:
            stream.cancel()
        for reader, _ in readers:
            reader.join(_END_SECONDS)

    def after_fork_in_parent(self) -> None:
        """Let calls go on."""
        self._gate.release()

    def _carried(self, method: str, data: bytes, timeout: float, metadata: Metadata) -> Call:
        outcome = threading.Lock()
        outcome.acquire()
        call = Call(method, data, timeout, metadata, outcome.release)
        try:
            with self._gate, self._lock:
                self.add(call)
            if not outcome.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
                with self._lock:
                    call.expire()
        finally:
            # An interrupt of the caller, such as KeyboardInterrupt, cancels the call.
            if not call.is_done:
                with self._lock:
                    self.forget(call)
        return call

    def start(self, pipeline: Pipeline) -> None:
        woken = threading.Condition(self._lock)
        pipeline.wake = woken.notify
        # The thread that gRPC starts outlives the call that needs the pipeline, and keeps nothing of its context.
        stream = Context().run(self._open_stream, self._messages(pipeline, woken), metadata=pipeline.credentials)
        reader = threading.Thread(target=self._read, args=(pipeline, stream), name="holdfast-pipeline", daemon=True)
        self._readers[pipeline] = reader, stream
        reader.start()

    def _messages(self, sent: Pipeline, woken: threading.Condition) -> Iterator[bytes]:
        """Iterate over the messages of a pipeline. gRPC asks for one when the stream can take it."""
        answer_by: float | None = None
        while True:
            with woken:
                while not (message := sent.message()):
                    if message is None:
                        return
                    if not woken.wait(self._patience(sent, answer_by)):
                        self._check(sent, answer_by)
            sent.has_sent = True
            yield message
            if answer_by is None:
                answer_by = time.monotonic() + FIRST_ANSWER_SECONDS

    def _patience(self, sent: Pipeline, answer_by: float | None) -> float:
        if answer_by is None or sent.has_answered:
            return IDLE_SECONDS
        return max(answer_by - time.monotonic(), 0.0)

    def _check(self, sent: Pipeline, answer_by: float | None) -> None:
        if answer_by is not None and not sent.has_answered:
            self.check_first_answer(sent)
        else:
            self.check_idle(sent)

    def _read(self, read: Pipeline, stream: Any) -> None:
        error: Any = CallError(grpc.StatusCode.CANCELLED, "the pipeline was cancelled")
        try:
            for response in stream:
                with self._lock:
                    self.received(read, response)
            error = None
        except grpc.RpcError as caught:
            error = caught
        finally:
            stream.cancel()
            with self._lock:
                self.ended(read, error)
                del self._readers[read]
