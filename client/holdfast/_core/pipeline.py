"""The pipelines of a connection: which calls wait, which are in flight, what the next message holds. No I/O, no locks.

Everything that waits when a stream can take a message goes into it, up to a size that other calls need not wait for. A
driver for asyncio and one for threads (`_async/pipelines.py`, `_sync/pipelines.py`) move the messages.
"""

import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

import grpc

from holdfast._core.pipeline_calls import Call, CallError, cancellations
from holdfast._core.statuses import DETAILS_KEY
from holdfast._core.tokens import Metadata
from holdfast.v1 import checkpoint_service_pb2 as api

# A larger request is sent as a unary call, so that small calls do not wait for it.
LARGEST_REQUEST = 256 << 10
_MESSAGE_BYTES = 512 << 10
# The most calls that a server accepts in one message.
_MESSAGE_CALLS = 1000
# What may be in flight before the server has stated its limits.
_FIRST_CALLS = 8
_FIRST_BYTES = 1 << 20
# A server answers a new pipeline at once. If it does not, a proxy that buffers streams may be between.
FIRST_ANSWER_SECONDS = 3.0
# The time without calls after which a pipeline is closed, at most twice that. Until then gRPC pings the server.
IDLE_SECONDS = 5.0
# How long a connection uses unary calls before it opens a pipeline again.
_UNARY_SECONDS = 60.0
# Statuses of connections that break or cannot be made. Unary calls fail the same way.
_BROKEN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
# Statuses of a server or proxy that refuses a pipeline before it starts any call.
_REFUSED = frozenset(
    {
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


class Pipeline:
    """The calls of one stream.

    Args:
        ids: the ids of its calls, which no other pipeline of the connection uses.
        credentials: the metadata that send the token of its calls.

    Attributes:
        credentials: the same.
        wake: called when there may be something to send. The driver sets it.
        has_sent: whether a message was sent. The driver sets it.
        has_answered: whether the server has sent a message.
        is_retired: whether the pipeline takes no further calls.

    """

    def __init__(self, ids: "count[int]", credentials: Metadata = ()) -> None:
        self._ids = ids
        self.credentials = credentials
        self._waiting: deque[Call] = deque()
        self._in_flight: dict[int, Call] = {}
        self._bytes_in_flight = 0
        self._cancelled: list[int] = []
        self._max_calls = _FIRST_CALLS
        self._max_bytes = _FIRST_BYTES
        self._was_used = False
        self.wake: Callable[[], object] = _nothing
        self.has_sent = False
        self.has_answered = False
        self.is_retired = False

    def add(self, call: Call) -> None:
        """Let a call wait for the next message."""
        self._waiting.append(call)
        self._was_used = True
        self.wake()

    def cancel(self, call: Call) -> None:
        """Cancel a call on the server if this pipeline has sent it."""
        if call.call_id in self._in_flight and not self.is_retired:
            self._cancelled.append(call.call_id)
            self.wake()

    def message(self) -> bytes | None:
        """Return the next message: b"" if nothing can be sent now, None if nothing will be sent any more."""
        pieces: list[bytes] = []
        if self._cancelled:
            pieces.append(cancellations(self._cancelled))
            self._cancelled = []
        # Nothing follows the first calls until the server has answered, or a refusal could be taken for a break.
        if self.has_answered or not self._in_flight:
            self._take(pieces)
        if pieces:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return None if self.is_retired else b""

    def received(self, response: api.PipelineResponse) -> None:
        """Take a message of the server: limits, and the outcomes of calls. Ids that are not in flight are ignored."""
        self.has_answered = True
        if response.HasField("limits"):
            self._max_calls = max(response.limits.calls, 1)
            self._max_bytes = max(response.limits.bytes, 1)
        for answer in response.answers:
            call = self._in_flight.pop(answer.call_id, None)
            if call is not None:
                self._bytes_in_flight -= call.size
                call.answer(answer)
        if self._waiting:
            self.wake()

    def is_idle(self) -> bool:
        """Return whether no call is open and none was added since this was last called."""
        was_used, self._was_used = self._was_used, False
        return not (was_used or self._waiting or self._in_flight)

    def retire(self) -> list[Call]:
        """Take no further calls, and close the stream for sending. Return the calls that were not sent."""
        self.is_retired = True
        unsent = [call for call in self._waiting if not call.is_done]
        self._waiting.clear()
        self.wake()
        return unsent

    def end(self) -> list[Call]:
        """Send nothing more. Return the calls without an outcome."""
        calls = [*self._in_flight.values(), *self._waiting]
        self._in_flight.clear()
        self._cancelled.clear()
        self.retire()
        return [call for call in calls if not call.is_done]

    def _take(self, pieces: list[bytes]) -> None:
        """Append the calls that wait and fit into one message and the server's limits."""
        size = 0
        while self._waiting and len(pieces) < _MESSAGE_CALLS:
            call = self._waiting[0]
            if call.is_done:
                self._waiting.popleft()
                continue
            if not self._has_room(call) or (size and size + call.size > _MESSAGE_BYTES):
                return
            call_id = next(self._ids)
            self._in_flight[call_id] = self._waiting.popleft()
            self._bytes_in_flight += call.size
            size += call.size
            pieces.append(call.encoded(call_id))

    def _has_room(self, call: Call) -> bool:
        in_flight = len(self._in_flight)
        return not in_flight or (in_flight < self._max_calls and self._bytes_in_flight + call.size <= self._max_bytes)


class PipelinesOfConnection:
    """The pipelines of one connection: one that takes calls, and older ones that wait for their last answers.

    All calls of a pipeline have the token that it was opened with. A call with another token begins another pipeline.
    """

    def __init__(self) -> None:
        self._ids = count(1)
        self._unary_until = 0.0
        self._current: Pipeline | None = None
        self._open: set[Pipeline] = set()

    def start(self, pipeline: Pipeline) -> None:
        """Open the stream of a pipeline. If this raises, there is no such pipeline. A driver defines it."""
        raise NotImplementedError

    def allows(self) -> bool:
        """Return whether the connection carries pipelines, as far as is known."""
        return time.monotonic() >= self._unary_until

    def add(self, call: Call) -> None:
        """Send a call with the next message. Opens a pipeline if there is none."""
        if not self.allows():
            call.refuse()
            return
        if self._current is not None and self._current.credentials != call.credentials:
            # Its unsent calls have its token, not that of the next pipeline.
            for unsent in self._close(self._current):
                unsent.refuse()
        pipeline = self._current
        if pipeline is None:
            pipeline = Pipeline(self._ids, call.credentials)
            self.start(pipeline)
            self._open.add(pipeline)
            self._current = pipeline
        pipeline.add(call)

    def forget(self, call: Call) -> None:
        """Cancel a call whose caller no longer waits."""
        call.is_done = True
        for pipeline in self._open:
            pipeline.cancel(call)

    def received(self, pipeline: Pipeline, response: api.PipelineResponse) -> None:
        """Take a message of the server. If it announces the end of its pipeline, the next one takes what waits."""
        pipeline.received(response)
        if response.HasField("going_away"):
            self._retire(pipeline)

    def check_first_answer(self, pipeline: Pipeline) -> None:
        """Use unary calls if a pipeline has no answer long after its first message.

        The pipeline is closed for sending, so that a proxy that waits for the end of a stream passes it on.
        """
        if not pipeline.has_answered and not pipeline.is_retired:
            self._suspend()
            self._retire(pipeline)

    def check_idle(self, pipeline: Pipeline) -> None:
        """Close a pipeline for sending if it had no calls since the last check."""
        if not pipeline.is_retired and pipeline.is_idle():
            self._retire(pipeline)

    def ended(self, pipeline: Pipeline, error: Any) -> None:
        """Decide the outcome of every open call of a pipeline after its stream ended.

        Args:
            pipeline: the pipeline.
            error: the stream's failure; None if it ended with OK, or its messages could not be parsed.

        """
        self._open.discard(pipeline)
        if self._current is pipeline:
            self._current = None
        calls = pipeline.end()
        if not calls:
            return
        code = grpc.StatusCode.OK if error is None else error.code()
        metadata = () if error is None else tuple(error.trailing_metadata() or ())
        # A server that refuses the token takes pipelines with another one; a proxy may not.
        is_token_refused = code is grpc.StatusCode.UNAUTHENTICATED and DETAILS_KEY in dict(metadata)
        # gRPC reports a stream that ends before its first message as a failure to send that message.
        if not (is_token_refused or pipeline.has_answered) and (
            code in _REFUSED or not (pipeline.has_sent or code in _BROKEN)
        ):
            self._suspend()
            for call in calls:
                call.refuse()
            return
        details = ("the stream ended" if error is None else error.details()) or ""
        if code not in _BROKEN and DETAILS_KEY not in dict(metadata):
            self._suspend()
            code, details = grpc.StatusCode.UNAVAILABLE, f"the pipeline broke: {code.name}: {details}"
        for call in calls:
            call.fail(CallError(code, details, metadata))

    def _retire(self, pipeline: Pipeline) -> None:
        """Let the next pipeline take what one has not sent."""
        for call in self._close(pipeline):
            self.add(call)

    def _close(self, pipeline: Pipeline) -> list[Call]:
        """Close a pipeline for sending. Return what it has not sent."""
        if self._current is pipeline:
            self._current = None
        return pipeline.retire()

    def _suspend(self) -> None:
        """Use unary calls for a while."""
        self._unary_until = time.monotonic() + _UNARY_SECONDS


def _nothing() -> None:
    pass
