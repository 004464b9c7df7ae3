"""The connection of a server process to the collector of its spans and metrics.

The usual `OTEL_*` variables name the collector: without OTEL_EXPORTER_OTLP_ENDPOINT, or its form for one signal,
nothing is sent. A process that embeds the service does not import this module: its program configures OpenTelemetry.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from holdfast_server import SERVER_VERSION

_LOG = logging.getLogger("holdfast.server")
# How long the end of a process that never served may wait for the collector.
_LAST_SECONDS = 1.0
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


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
