"""Spans and metrics of calls and store requests.

Spans and instruments go through the OpenTelemetry API and cost next to nothing until `exports` connects them to a
collector, or the program that embeds the service configures OpenTelemetry. Names follow the semantic conventions for
RPC.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from holdfast_server import SERVER_VERSION

_TRACER = trace.get_tracer("holdfast.server", SERVER_VERSION)
_METER = metrics.get_meter("holdfast.server", SERVER_VERSION)
_PROPAGATOR = TraceContextTextMapPropagator()

_CALL_SECONDS = _METER.create_histogram("rpc.server.call.duration", "s", "Calls by method, status code and reason.")
_CALL_STORE_REQUESTS = _METER.create_histogram("holdfast.call.store_requests", "{request}", "Store requests per call.")
_STORE_SECONDS = _METER.create_histogram("holdfast.store.request.duration", "s", "Store requests by operation.")
PAYLOAD_BYTES = _METER.create_counter("holdfast.payload.size", "By", "Payload saved and loaded.")
FALLBACKS = _METER.create_counter("holdfast.fallbacks", "{load}", "Loads answered with an older checkpoint.")
COLLECTED = _METER.create_counter(
    "holdfast.collected", description="Checkpoints retired; markers, blobs, claims and batches of records deleted."
)
ORPHANS = _METER.create_counter("holdfast.orphans", "{blob}", "Blobs that were uploaded for a save that failed.")


@dataclass(slots=True)
class _StoreRequests:
    count: int = 0


_store_requests: ContextVar[_StoreRequests | None] = ContextVar("store_requests", default=None)


class CallSpan:
    """The server span of a call, and the attributes of its metrics."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._status_code = "OK"
        self._reason = ""

    def describe(self, **attributes: str | int) -> None:
        """Set `holdfast.*` attributes of the span. Empty values are left out."""
        if self._span.is_recording():
            self._span.set_attributes({f"holdfast.{name}": value for name, value in attributes.items() if value})

    def failed(self, reason: str, status_code: str) -> None:
        """Record that the call ends with an error."""
        self._reason, self._status_code = reason, status_code
        self._span.set_attributes({"error.type": reason, "holdfast.reason": reason})
        self._span.set_status(Status(StatusCode.ERROR, reason))

    @property
    def trace_id(self) -> str:
        """The trace, 32 hex digits; "" if there is none."""
        context = self._span.get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else ""

    @property
    def outcome(self) -> dict[str, str]:
        """The status code and, if the call failed, the reason, as attributes."""
        outcome = {"rpc.status_code": self._status_code}
        return outcome | {"error.type": self._reason} if self._reason else outcome


@contextmanager
def serving_call(method: str, headers: Mapping[str, str]) -> Iterator[CallSpan]:
    """Open the server span of a call, as a child of the span in the caller's W3C trace context.

    Args:
        method: the full method, such as "holdfast.v1.CheckpointService/Save".
        headers: the call's metadata.

    """
    attributes = {"rpc.system.name": "grpc", "rpc.method": method}
    started = time.perf_counter()
    requests = _StoreRequests()
    token = _store_requests.set(requests)
    parent = _PROPAGATOR.extract(headers)
    try:
        with _TRACER.start_as_current_span(
            method,
            parent,
            SpanKind.SERVER,
            attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            call = CallSpan(span)
            try:
                yield call
            finally:
                span.set_attribute("rpc.status_code", call.outcome["rpc.status_code"])
    finally:
        _store_requests.reset(token)
        _CALL_SECONDS.record(time.perf_counter() - started, attributes | call.outcome)
        _CALL_STORE_REQUESTS.record(requests.count, attributes)


@contextmanager
def store_request(operation: str, attributes: Mapping[str, str]) -> Iterator[None]:
    """Open the client span of one store request. An exception fails it with the exception's class."""
    requests = _store_requests.get()
    if requests is not None:
        requests.count += 1
    started = time.perf_counter()
    outcome = {"holdfast.store.operation": operation}
    try:
        with _TRACER.start_as_current_span(
            f"store {operation}",
            kind=SpanKind.CLIENT,
            attributes={**attributes, **outcome},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                outcome["error.type"] = type(error).__name__
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise
    finally:
        _STORE_SECONDS.record(time.perf_counter() - started, outcome)
