"""Spans and metrics of calls, through the OpenTelemetry API. The program chooses where they are sent.

Each logical call has a client span, and each attempt a span below it, whose context goes to the server as W3C trace
context. A program without tracing still has a trace id for each call, the same on every attempt: the server's spans and
every error carry it. It has no spans, since each would cost as much as the rest of a call.
"""

import os
import random
import time
from collections.abc import Mapping

from opentelemetry import context, metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from holdfast._core.errors import HoldfastError
from holdfast._package import VERSION

_TRACER = trace.get_tracer("holdfast", VERSION)
_METER = metrics.get_meter("holdfast", VERSION)
_PROPAGATOR = TraceContextTextMapPropagator()

# Boundaries of buckets, in seconds. The default ones are made for milliseconds.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CALL_SECONDS = _METER.create_histogram(
    "rpc.client.call.duration",
    "s",
    "Logical calls with all their attempts, by method and reason of failure.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
_RETRIES = _METER.create_counter(
    "holdfast.client.retries", "{attempt}", "Attempts beyond the first, by method and reason."
)

Metadata = tuple[tuple[str, str], ...]

# Of our own, because the program's tests seed and patch `random`. Reading from the operating system releases the
# interpreter's lock, which costs more than the call if the service runs in this process.
_IDS = random.Random(os.urandom(16))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _IDS.seed(os.urandom(16)))


class LogicalCall:
    """A call with all its attempts. Its span, below the current span of the program, is open within a `with` block.

    Args:
        method: the method's name in the service.
        request_id: the idempotency key, or "".

    Attributes:
        trace_id: the trace, 32 hex digits, once the block has begun.

    """

    __slots__ = ("_attributes", "_is_traced", "_last_error", "_method", "_request_id", "_span", "_started", "trace_id")

    def __init__(self, method: str, request_id: str) -> None:
        self._method = f"holdfast.v1.CheckpointService/{method}"
        self._request_id = request_id
        self._attributes = {"rpc.system.name": "grpc", "rpc.method": self._method}
        self._span: _CurrentSpan | None = None
        self._last_error: HoldfastError | None = None

    def __enter__(self) -> "LogicalCall":
        self._started = time.perf_counter()
        if collects_spans():
            named = {"holdfast.request_id": self._request_id} if self._request_id else {}
            self._span = _CurrentSpan(self._method, SpanKind.CLIENT, self._attributes | named)
        # The program may be part of a trace without having spans of its own.
        own = trace.get_current_span().get_span_context()
        self._is_traced = own.is_valid
        self.trace_id = f"{own.trace_id:032x}" if own.is_valid else f"{_IDS.getrandbits(128):032x}"
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._span is not None:
            self._span.end(error)
        outcome = {"rpc.response.status_code": "OK"}
        if isinstance(error, HoldfastError):
            outcome = {"rpc.response.status_code": error.code.name, "error.type": error.reason}
        _CALL_SECONDS.record(time.perf_counter() - self._started, self._attributes | outcome)

    def attempt(self, number: int) -> "_Attempt":
        """Return an attempt. Its span is open within a `with` block, which gets the metadata for the server."""
        return _Attempt(self, number)

    def begin_attempt(self, number: int) -> "_CurrentSpan | None":
        """Count an attempt beyond the first, and open the span of an attempt if the program collects spans."""
        if self._last_error is not None:
            _RETRIES.add(1, self._attributes | {"error.type": self._last_error.reason})
        if self._span is None:
            return None
        numbered = self._attributes | {"holdfast.attempt": number}
        return _CurrentSpan(f"{self._method} attempt", SpanKind.INTERNAL, numbered)

    def metadata(self) -> Metadata:
        """Return the metadata that passes the trace, and the current span if there is one, on to the server."""
        if not self._is_traced:
            return (("traceparent", f"00-{self.trace_id}-{_IDS.getrandbits(64):016x}-01"),)
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return tuple(carrier.items())

    def end_attempt(self, span: "_CurrentSpan | None", error: BaseException | None) -> None:
        """Close the span of an attempt, and remember its failure."""
        if span is not None:
            span.end(error)
        if isinstance(error, HoldfastError):
            self._last_error = error


class _Attempt:
    """One attempt of a logical call, as a context manager."""

    __slots__ = ("_call", "_number", "_span")

    def __init__(self, call: LogicalCall, number: int) -> None:
        self._call = call
        self._number = number

    def __enter__(self) -> Metadata:
        self._span = self._call.begin_attempt(self._number)
        return self._call.metadata()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._call.end_attempt(self._span, error)


class _CurrentSpan:
    """A span that is the program's current one until it ends."""

    __slots__ = ("_span", "_token")

    def __init__(self, name: str, kind: SpanKind, attributes: Mapping[str, str | int]) -> None:
        self._span = _TRACER.start_span(name, kind=kind, attributes=attributes)
        self._token = context.attach(trace.set_span_in_context(self._span))

    def end(self, error: BaseException | None) -> None:
        """End it, as failed if there is an error of the SDK, and as successful if there is no error."""
        context.detach(self._token)
        if isinstance(error, HoldfastError):
            failure = {
                "rpc.response.status_code": error.code.name,
                "error.type": error.reason,
                "holdfast.reason": error.reason,
            }
            self._span.set_attributes(failure)
            self._span.set_status(Status(StatusCode.ERROR, error.message))
        elif error is None:
            self._span.set_attribute("rpc.response.status_code", "OK")
        self._span.end()


def collects_spans() -> bool:
    """Return whether the program has configured OpenTelemetry, so that spans go somewhere."""
    if not isinstance(_TRACER, trace.ProxyTracer):
        return True
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
