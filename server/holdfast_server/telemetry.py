"""Spans and metrics of calls and store requests.

Spans and instruments go through the OpenTelemetry API and cost next to nothing until `exporting` connects them to a
collector. The usual `OTEL_*` variables name the collector: without OTEL_EXPORTER_OTLP_ENDPOINT, or its form for one
signal, nothing is sent. Names follow the semantic conventions for RPC.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from holdfast_server import SERVER_VERSION

_TRACER = trace.get_tracer("holdfast.server", SERVER_VERSION)
_METER = metrics.get_meter("holdfast.server", SERVER_VERSION)
_PROPAGATOR = TraceContextTextMapPropagator()
_LOG = logging.getLogger("holdfast.server")
# How long the end of a process that never served may wait for the collector.
_LAST_SECONDS = 1.0
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

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


class Exports:
    """The connections to collectors, and how long the end of this process may wait for them.

    Attributes:
        is_enabled: whether anything is sent at all.

    """

    def __init__(self) -> None:
        self.is_enabled = False
        self._deadline: float | None = None

    def end_within(self, seconds: float) -> None:
        """Set how long from now sending the last spans and metrics may take."""
        self._deadline = time.monotonic() + seconds

    def wait(self, stops: Sequence[Callable[[], None]]) -> None:
        """Send the remaining spans and metrics, up to the time limit: a dead collector must not delay the end."""
        deadline = time.monotonic() + _LAST_SECONDS if self._deadline is None else self._deadline
        threads = [threading.Thread(target=stop, daemon=True) for stop in stops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            _LOG.warning("the telemetry collector does not answer; the last spans and metrics are lost")
            # A thread that still runs must not hold the lock of stderr when the interpreter ends.
            logging.disable()


@contextmanager
def exporting(environment: Mapping[str, str] = os.environ) -> Iterator[Exports]:
    """Send spans and metrics to the collector that the `OTEL_*` variables name, and the remaining ones at the end."""
    exports = Exports()
    resource = Resource.create(
        {SERVICE_NAME: environment.get("OTEL_SERVICE_NAME", "holdfast-server"), SERVICE_VERSION: SERVER_VERSION}
    )
    stops: list[Callable[[], None]] = []
    if _is_enabled("TRACES", environment):
        tracing = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(tracing)
        stops.append(tracing.shutdown)
    if _is_enabled("METRICS", environment):
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        metering = MeterProvider([reader], resource, shutdown_on_exit=False)
        metrics.set_meter_provider(metering)
        stops.append(metering.shutdown)
    exports.is_enabled = bool(stops)
    try:
        yield exports
    finally:
        exports.wait(stops)


def _is_enabled(signal: str, environment: Mapping[str, str]) -> bool:
    if environment.get(f"OTEL_{signal}_EXPORTER", "otlp") != "otlp":
        return False
    return bool(environment.get(_ENDPOINT) or environment.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))


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
