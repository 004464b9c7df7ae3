"""Spans and metrics of calls and store requests.

Spans and instruments go through the OpenTelemetry API and cost next to nothing until `exports` connects them to a
collector, or the program that embeds the service configures OpenTelemetry. Names follow the semantic conventions for
RPC.
"""

import random
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import context, metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from holdfast_server import SERVER_VERSION

_TRACER = trace.get_tracer("holdfast.server", SERVER_VERSION)
_METER = metrics.get_meter("holdfast.server", SERVER_VERSION)
_PROPAGATOR = TraceContextTextMapPropagator()
# https://www.w3.org/TR/trace-context/: a trace id of zeros is invalid.
_TRACEPARENT = re.compile("[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

_CALL_SECONDS = _METER.create_histogram("rpc.server.call.duration", "s", "Calls by method, status code and reason.")
_CALL_STORE_REQUESTS = _METER.create_histogram("holdfast.call.store_requests", "{request}", "Store requests per call.")
_STORE_SECONDS = _METER.create_histogram("holdfast.store.request.duration", "s", "Store requests by operation.")
PAYLOAD_BYTES = _METER.create_counter("holdfast.payload.size", "By", "Payload saved and loaded.")
FALLBACKS = _METER.create_counter("holdfast.fallbacks", "{load}", "Loads answered with an older checkpoint.")
COLLECTED = _METER.create_counter(
    "holdfast.collected", description="Checkpoints retired; markers, blobs, claims and batches of records deleted."
)
PIPELINES = _METER.create_up_down_counter("holdfast.pipelines", "{pipeline}", "Open pipelines.")
AUDIT_LOST = _METER.create_counter("holdfast.audit.lost", "{line}", "Lines that the audit log could not keep.")
CERTIFICATE_END = _METER.create_gauge(
    "holdfast.tls.certificate.end", "s", "Unix time when the server's certificate expires."
)
ORPHANS = _METER.create_counter("holdfast.orphans", "{blob}", "Blobs that were uploaded for a save that failed.")


class CallSpan:
    """The server span of a call, a child of the span in the caller's W3C trace context, and the call's metrics.

    While no program collects spans, there is only the trace id: the caller's, or a random one.

    Args:
        method: the full method, such as "holdfast.v1.CheckpointService/Save".
        headers: the call's metadata.

    Attributes:
        trace_id: the trace, 32 hex digits.
        store_requests: how many store requests the call has made.

    """

    __slots__ = (
        "_attributes",
        "_reason",
        "_span",
        "_span_token",
        "_started",
        "_status_code",
        "_token",
        "store_requests",
        "trace_id",
    )

    def __init__(self, method: str, headers: Mapping[str, str]) -> None:
        self._attributes = {"rpc.system.name": "grpc", "rpc.method": method}
        self._status_code = "OK"
        self._reason = ""
        self.store_requests = 0
        self._started = time.perf_counter()
        self._span: Span | None = None
        if collects_spans():
            parent = _PROPAGATOR.extract(headers)
            self._span = _TRACER.start_span(method, parent, SpanKind.SERVER, self._attributes)
            own = self._span.get_span_context()
            self.trace_id = f"{own.trace_id:032x}" if own.is_valid else trace_id_of({})
        else:
            self.trace_id = trace_id_of(headers)

    def __enter__(self) -> "CallSpan":
        self._token = _call.set(self)
        if self._span is not None:
            self._span_token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(self, *exc_info: object) -> None:
        _call.reset(self._token)
        outcome = {"rpc.status_code": self._status_code}
        if self._span is not None:
            context.detach(self._span_token)
            self._span.set_attributes(outcome)
            self._span.end()
        if self._reason:
            outcome["error.type"] = self._reason
        _CALL_SECONDS.record(time.perf_counter() - self._started, self._attributes | outcome)
        _CALL_STORE_REQUESTS.record(self.store_requests, self._attributes)

    @property
    def is_recording(self) -> bool:
        """Whether attributes of the span go somewhere."""
        return self._span is not None and self._span.is_recording()

    def describe(self, **attributes: str | int) -> None:
        """Set `holdfast.*` attributes of the span. Empty values are left out."""
        if self._span is not None and self._span.is_recording():
            self._span.set_attributes({f"holdfast.{name}": value for name, value in attributes.items() if value})

    def failed(self, reason: str, status_code: str) -> None:
        """Record that the call ends with an error."""
        self._reason, self._status_code = reason, status_code
        if self._span is not None:
            self._span.set_attributes({"error.type": reason, "holdfast.reason": reason})
            self._span.set_status(Status(StatusCode.ERROR, reason))


_call: ContextVar[CallSpan | None] = ContextVar("call", default=None)


def collects_spans() -> bool:
    """Return whether a program has configured OpenTelemetry, so that spans go somewhere."""
    if not isinstance(_TRACER, trace.ProxyTracer):
        return True
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def trace_id_of(headers: Mapping[str, str]) -> str:
    """Return the trace of a call by its metadata, 32 hex digits; a random one if the caller has none."""
    given = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return given[1] if given else f"{random.getrandbits(128):032x}"


@contextmanager
def store_request(operation: str, attributes: Mapping[str, str]) -> Iterator[None]:
    """Open the client span of one store request. An exception fails it with the exception's class."""
    call = _call.get()
    if call is not None:
        call.store_requests += 1
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
