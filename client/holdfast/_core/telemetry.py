"""Spans and metrics of calls, through the OpenTelemetry API. The program chooses where they are sent.

Each logical call has a client span, and each attempt a span below it, whose context goes to the server as W3C trace
context. A program without tracing still has a trace id for each call, the same on every attempt: the server's spans and
every error carry it.
"""

import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from holdfast._core.errors import HoldfastError
from holdfast._package import VERSION

_TRACER = trace.get_tracer("holdfast", VERSION)
_METER = metrics.get_meter("holdfast", VERSION)
_PROPAGATOR = TraceContextTextMapPropagator()

_CALL_SECONDS = _METER.create_histogram(
    "rpc.client.call.duration", "s", "Logical calls with all their attempts, by method and reason of failure."
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
    """A call with all its attempts."""

    def __init__(self, method: str, span: Span) -> None:
        self._method = method
        self._attributes = {"rpc.system.name": "grpc", "rpc.method": method}
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}" if context.is_valid else f"{_IDS.getrandbits(128):032x}"
        self._last_error: HoldfastError | None = None

    @contextmanager
    def attempt(self, number: int) -> Iterator[Metadata]:
        """Open the span of an attempt. Yields the metadata that passes it on to the server."""
        if self._last_error is not None:
            _RETRIES.add(1, self._attributes | {"error.type": self._last_error.reason})
        attributes: Mapping[str, str | int] = {**self._attributes, "holdfast.attempt": number}
        with _open_span(f"{self._method} attempt", SpanKind.INTERNAL, attributes) as span:
            try:
                yield self._metadata(span)
                span.set_attribute("rpc.status_code", "OK")
            except HoldfastError as error:
                self._last_error = error
                _mark_failed(span, error)
                raise

    def _metadata(self, span: Span) -> Metadata:
        if not span.get_span_context().is_valid:
            return (("traceparent", f"00-{self.trace_id}-{_IDS.getrandbits(64):016x}-01"),)
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return tuple(carrier.items())


@contextmanager
def logical_call(method: str, request_id: str) -> Iterator[LogicalCall]:
    """Open the span of a logical call, below the current span of the program.

    Args:
        method: the method's name in the service.
        request_id: the idempotency key, or "".

    """
    full_name = f"holdfast.v1.CheckpointService/{method}"
    attributes = {"rpc.system.name": "grpc", "rpc.method": full_name}
    named = attributes | {"holdfast.request_id": request_id} if request_id else attributes
    started = time.perf_counter()
    outcome = {"rpc.status_code": "OK"}
    with _open_span(full_name, SpanKind.CLIENT, named) as span:
        try:
            yield LogicalCall(full_name, span)
            span.set_attribute("rpc.status_code", "OK")
        except HoldfastError as error:
            outcome = {"rpc.status_code": error.code.name, "error.type": error.reason}
            _mark_failed(span, error)
            raise
        finally:
            _CALL_SECONDS.record(time.perf_counter() - started, attributes | outcome)


@contextmanager
def _open_span(name: str, kind: SpanKind, attributes: Mapping[str, str | int]) -> Iterator[Span]:
    with _TRACER.start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        yield span


def _mark_failed(span: Span, error: HoldfastError) -> None:
    span.set_attributes(
        {"rpc.status_code": error.code.name, "error.type": error.reason, "holdfast.reason": error.reason}
    )
    span.set_status(Status(StatusCode.ERROR, error.message))
