"""Where the spans and metrics of a server process go: to collectors by OTLP, and to Prometheus.

The usual `OTEL_*` variables name the collector: without OTEL_EXPORTER_OTLP_ENDPOINT, or its form for one signal,
nothing is sent. A process that embeds the service does not import this module: its program configures OpenTelemetry.
"""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from holdfast_server import SERVER_VERSION, telemetry
from holdfast_server.api.calls import Calls
from holdfast_server.config import ConfigError
from holdfast_server.protocol.errors import Reason

if TYPE_CHECKING:
    from holdfast_server.metrics_endpoint import MetricsEndpoint

_LOG = logging.getLogger("holdfast.server")
# How long the end of a process that never served may wait for the collector.
_LAST_SECONDS = 1.0
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Exports:
    """The connections to collectors, and how long the end of this process may wait for them.

    Attributes:
        is_enabled: whether anything is sent or served at all.
        metrics_address: host:port on which Prometheus reads metrics; "" if it does not.

    """

    def __init__(self) -> None:
        self.is_enabled = False
        self.metrics_address = ""
        self._deadline: float | None = None

    def observe(self, calls: Calls, *, folder: Path | None) -> None:
        """Have metrics read what is in flight, its limits and the free space of the store, and count from zero.

        Args:
            calls: the calls of the server.
            folder: the folder of the store; None if it is elsewhere.

        """
        admission = calls.admission
        gauges: list[tuple[str, str, str, Callable[[], int]]] = [
            (
                "calls.in_flight",
                "{call}",
                "Calls in flight, including streams, without watches.",
                lambda: admission.calls,
            ),
            ("calls.limit", "{call}", "Calls that may be in flight.", lambda: admission.capacity.calls),
            ("payload.in_flight", "By", "Payload that calls hold in memory.", lambda: admission.held_bytes),
            ("payload.limit", "By", "Payload that calls may hold in memory.", lambda: admission.capacity.bytes),
        ]
        if folder is not None:
            gauges += [
                ("store.free", "By", "Free space of the store's file system.", lambda: shutil.disk_usage(folder).free),
                ("store.space", "By", "Size of the store's file system.", lambda: shutil.disk_usage(folder).total),
            ]
        telemetry.count_from_zero(Reason)
        meter = metrics.get_meter("holdfast.server", SERVER_VERSION)
        for name, unit, description, read in gauges:
            meter.create_observable_gauge(f"holdfast.{name}", [partial(_observe, read)], unit, description)

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
def exporting(metrics_listen: str = "", environment: Mapping[str, str] = os.environ) -> Iterator[Exports]:
    """Send spans and metrics to the collector that the `OTEL_*` variables name, and the remaining ones at the end.

    Args:
        metrics_listen: address on which Prometheus reads metrics, host:port; "" for none.
        environment: the environment.

    Raises:
        ConfigError: Prometheus' exporter is not installed.
        OSError: the address cannot be used.

    """
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
    readers: list[MetricReader] = []
    if metrics_listen:
        endpoint = _open_endpoint(metrics_listen)
        exports.metrics_address = endpoint.address
        readers.append(endpoint.reader)
        stops.append(endpoint.close)
    if _is_enabled("METRICS", environment):
        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
    if readers:
        metering = MeterProvider(readers, resource, shutdown_on_exit=False)
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


def _open_endpoint(listen: str) -> "MetricsEndpoint":
    """Open the endpoint for Prometheus, whose libraries are needed for it only."""
    try:
        from holdfast_server.metrics_endpoint import MetricsEndpoint  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(f"metrics_listen: needs holdfast-server[prometheus] ({error})") from None
    return MetricsEndpoint(listen)


def _observe(read: Callable[[], int], options: CallbackOptions) -> Iterable[Observation]:
    """Return one observation, or none if the figure cannot be read."""
    try:
        return [Observation(read())]
    except OSError:
        return []
