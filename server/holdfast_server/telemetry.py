"""Spans and metrics of calls and store requests.

Spans and instruments go through the OpenTelemetry API and cost next to nothing until `exports` connects them to a
collector, or the program that embeds the service configures OpenTelemetry. Names follow the semantic conventions for
RPC.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import lru_cache

from opentelemetry import context, metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from holdfast_server import SERVER_VERSION

_TRACER = trace.get_tracer("holdfast.server", SERVER_VERSION)
_METER = metrics.get_meter("holdfast.server", SERVER_VERSION)
_PROPAGATOR = TraceContextTextMapPropagator()
# https://www.w3.org/TR/trace-context/: a trace id of zeros is invalid.
_TRACEPARENT = re.compile("[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class _Sums:
    """A counter that is added to with every save: a collection of metrics reads the sums, which is cheap for the saves.

    Args:
        name: the name of the metric.
        unit: its unit.
        description: what it counts.
        attributes: the names of its attributes, without `holdfast.`.

    """

    def __init__(self, name: str, unit: str, description: str, *attributes: str) -> None:
        self._attributes = [f"holdfast.{each}" for each in attributes]
        self._sums: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()
        _METER.create_observable_counter(name, [self._observe], unit, description)

    def add(self, amount: int, *values: str) -> None:
        """Add to the sum of these values of the attributes, of which there must be few."""
        with self._lock:
            self._sums[values] = self._sums.get(values, 0) + amount

    def _observe(self, options: CallbackOptions) -> list[Observation]:
        with self._lock:
            found = list(self._sums.items())
        return [Observation(value, dict(zip(self._attributes, values, strict=True))) for values, value in found]


# Buckets, in seconds: a save takes about a millisecond on a folder, and tens of them on S3.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# A save and a load cost a few requests.
_REQUESTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128)
# The adapters' formats begin with the names of their engines. No other part of a format may name a metric's series.
_ENGINE = re.compile("(adk|agent-framework|burr|crewai|langgraph|pydantic-ai|temporal)-")

_CALL_SECONDS = _METER.create_histogram(
    "rpc.server.call.duration",
    "s",
    "Calls by method, status code and reason.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
_CALL_STORE_REQUESTS = _METER.create_histogram(
    "holdfast.call.store_requests",
    "{request}",
    "Store requests per call.",
    explicit_bucket_boundaries_advisory=_REQUESTS,
)
_STORE_SECONDS = _METER.create_histogram(
    "holdfast.store.request.duration",
    "s",
    "Store requests by operation and failure.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
STORE_READY = _METER.create_gauge(
    "holdfast.store.ready", description="Whether the store works: 1, or 0 if it failed the last check."
)
_FAILURES = _METER.create_counter("holdfast.failures", "{call}", "Calls that failed, by reason.")
_CHECKPOINTS = _Sums("holdfast.checkpoints", "{checkpoint}", "Checkpoints saved, by engine.", "engine")
_PAYLOAD_BYTES = _Sums(
    "holdfast.payload.size", "By", "Payload saved and loaded, by direction and engine.", "direction", "engine"
)
_STORED_BYTES = _Sums(
    "holdfast.stored.size", "By", "Bytes that saved checkpoints take in the store, without bases, by engine.", "engine"
)
FALLBACKS = _METER.create_counter("holdfast.fallbacks", "{load}", "Loads answered with an older checkpoint.")
COLLECTED = _METER.create_counter(
    "holdfast.collected",
    description="Checkpoints retired; markers, blobs, claims, indexes and batches of records deleted.",
)
COLLECTION_END = _METER.create_gauge(
    "holdfast.collection.end", "s", "Unix time when a collection of this server last ended without an error."
)
UNCOLLECTED = _METER.create_counter(
    "holdfast.collection.failures", "{workflow}", "Workflows that a collection could not process."
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
        outcome = {"rpc.response.status_code": self._status_code}
        if self._span is not None:
            self._span.set_attributes(outcome)
        if self._reason:
            outcome["error.type"] = self._reason
            _FAILURES.add(1, {"error.type": self._reason})
        # While the span is current: exemplars have its trace id.
        _CALL_SECONDS.record(time.perf_counter() - self._started, self._attributes | outcome)
        _CALL_STORE_REQUESTS.record(self.store_requests, self._attributes)
        if self._span is not None:
            context.detach(self._span_token)
            self._span.end()

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


def count_from_zero(reasons: Iterable[str]) -> None:
    """Give counters of rare events their series at once, so that the first event is an increase.

    Args:
        reasons: why calls may fail.

    """
    for reason in reasons:
        _FAILURES.add(0, {"error.type": reason})
    for counter in (AUDIT_LOST, FALLBACKS, ORPHANS, PIPELINES, UNCOLLECTED):
        counter.add(0)


def trace_id_of(headers: Mapping[str, str]) -> str:
    """Return the trace of a call by its metadata, 32 hex digits; a random one if the caller has none."""
    given = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return given[1] if given else f"{random.getrandbits(128):032x}"


@lru_cache(maxsize=1024)
def _engine_of(format_name: str) -> str:
    """Return the engine that a format belongs to: one of a few names, whatever callers send."""
    known = _ENGINE.match(format_name)
    return known[1] if known else "other"


def count_save(format_name: str, *, payload_bytes: int, stored_bytes: int) -> None:
    """Count a checkpoint that was saved.

    Args:
        format_name: the name of its format.
        payload_bytes: the size of its payload.
        stored_bytes: how many bytes it takes in the store.

    """
    engine = _engine_of(format_name)
    _CHECKPOINTS.add(1, engine)
    _STORED_BYTES.add(stored_bytes, engine)
    _PAYLOAD_BYTES.add(payload_bytes, "saved", engine)


def count_loaded(format_name: str, payload_bytes: int) -> None:
    """Count payload that was loaded of a checkpoint with a format of that name."""
    _PAYLOAD_BYTES.add(payload_bytes, "loaded", _engine_of(format_name))


class StoreRequest:
    """The client span of one store request, and the request's metrics. An exception fails it with its class.

    Args:
        operation: what is requested.
        attributes: returns the attributes of the span, if spans go somewhere.

    """

    __slots__ = ("_attributes", "_operation", "_span", "_span_token", "_started")

    def __init__(self, operation: str, attributes: Callable[[], Mapping[str, str]]) -> None:
        self._operation = operation
        self._attributes = attributes

    def __enter__(self) -> None:
        call = _call.get()
        if call is not None:
            call.store_requests += 1
        self._span: Span | None = None
        if collects_spans():
            attributes = {**self._attributes(), "holdfast.store.operation": self._operation}
            self._span = _TRACER.start_span(f"store {self._operation}", kind=SpanKind.CLIENT, attributes=attributes)
            self._span_token = context.attach(trace.set_span_in_context(self._span))
        self._started = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        outcome = {"holdfast.store.operation": self._operation}
        if kind is not None:
            outcome["error.type"] = kind.__name__
        # While the span is current: exemplars have its trace id.
        _STORE_SECONDS.record(time.perf_counter() - self._started, outcome)
        if self._span is None:
            return
        if kind is not None:
            self._span.set_attribute("error.type", kind.__name__)
            self._span.set_status(Status(StatusCode.ERROR, str(error)))
        context.detach(self._span_token)
        self._span.end()
