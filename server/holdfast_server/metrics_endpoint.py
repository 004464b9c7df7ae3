"""An HTTP endpoint from which Prometheus reads the metrics of this process, with exemplars if it accepts OpenMetrics.

OpenTelemetry's exporter makes Prometheus' metrics of the instruments, without exemplars; they are added here. The
endpoint has threads of its own, so that neither a scrape nor a slow reader holds up the event loop.
"""

import io
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import Histogram, MetricsData
from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import Metric
from prometheus_client.samples import Exemplar, Sample

from holdfast_server.accepted import media_type, takes_gzip
from holdfast_server.listen_address import bind_error, family

PATH = "/metrics"
# A scraper that neither sends nor reads for so long is disconnected.
_SILENT_SECONDS = 10.0
_SCRAPES = 8
# How long a further scraper may wait until one of them is done.
_PATIENCE_SECONDS = 2.0
_POLL_SECONDS = 0.2
_LOG = logging.getLogger("holdfast.server")

_Series = tuple[str, frozenset[tuple[str, str]]]


class ExemplarReader(PrometheusMetricReader):
    """A reader of metrics for Prometheus that keeps the exemplars of histograms.

    Attributes:
        exemplars: of the last collection, by metric and attributes as the exporter names them: the upper bound of a
            bucket and its newest exemplar.

    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(disable_target_info=False, scope_info_enabled=False, registry=registry)
        self.exemplars: Mapping[_Series, Mapping[float, Exemplar]] = {}

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        self.exemplars = dict(_exemplars(metrics_data))
        super()._receive_metrics(metrics_data, timeout_millis, **kwargs)


def _exemplars(collected: MetricsData | None) -> Iterable[tuple[_Series, Mapping[float, Exemplar]]]:
    for resource in collected.resource_metrics if collected is not None else ():
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            if not isinstance(metric.data, Histogram):
                continue
            for point in metric.data.data_points:
                found: dict[float, Exemplar] = {}
                for each in sorted(point.exemplars, key=lambda each: each.time_unix_nano):
                    if each.trace_id:
                        bound = next((b for b in point.explicit_bounds if each.value <= b), float("inf"))
                        labels = {"trace_id": f"{each.trace_id:032x}", "span_id": f"{each.span_id:016x}"}
                        found[bound] = Exemplar(labels, each.value, each.time_unix_nano / 1e9)
                if found:
                    attributes = {_escaped(name): str(value) for name, value in (point.attributes or {}).items()}
                    yield (_escaped(metric.name), frozenset(attributes.items())), found


def _escaped(name: str) -> str:
    """Return the name of a metric or attribute in the form that the exporter gives it."""
    return name.replace(".", "_")


class _WithExemplars:
    """The metrics of a registry, with the exemplars of its reader, and those of the process.

    One collection runs at a time: the reader keeps what it has collected.
    """

    def __init__(self, registry: CollectorRegistry, reader: ExemplarReader) -> None:
        self._registry = registry
        self._reader = reader
        self._process = ProcessCollector(registry=None)
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            found = list(self._registry.collect())
            exemplars = self._reader.exemplars
        for metric in found:
            if metric.type == "histogram":
                name = metric.name.removesuffix(f"_{metric.unit}") if metric.unit else metric.name
                metric.samples = [_with_exemplar(sample, name, exemplars) for sample in metric.samples]
        return [*found, *self._process.collect()]

    def restricted_registry(self, names: Iterable[str]) -> "_Named":
        """Return the metrics with some names, for which a scraper may ask by `name[]`."""
        return _Named(self, frozenset(names))


class _Named:
    """Some of the metrics of a registry, by the names of their samples."""

    def __init__(self, metrics: _WithExemplars, names: frozenset[str]) -> None:
        self._metrics = metrics
        self._names = names

    def collect(self) -> Iterable[Metric]:
        for metric in self._metrics.collect():
            metric.samples = [sample for sample in metric.samples if sample.name in self._names]
            if metric.samples:
                yield metric


def _with_exemplar(sample: Sample, name: str, exemplars: Mapping[_Series, Mapping[float, Exemplar]]) -> Sample:
    bound = sample.labels.get("le")
    if bound is None:
        return sample
    # The exporter gives each series all labels of its metric; those that it lacks are empty.
    labels = frozenset((key, value) for key, value in sample.labels.items() if key != "le" and value)
    exemplar = exemplars.get((name, labels), {}).get(float(bound))
    return sample if exemplar is None else sample._replace(exemplar=exemplar)


class MetricsEndpoint:
    """The endpoint, which serves until it is closed.

    Args:
        listen: host:port; port 0 takes a free one.

    Attributes:
        reader: the reader to give to a provider of meters.
        address: host:port, with the actual port.

    Raises:
        OSError: the address cannot be used.

    """

    def __init__(self, listen: str) -> None:
        host, _, port = listen.rpartition(":")
        metrics = CollectorRegistry()
        self.reader = ExemplarReader(metrics)
        app = make_wsgi_app(_WithExemplars(metrics, self.reader))
        try:
            self._server = _server_class(listen)((host.strip("[]"), int(port)), _Handler)
        except OSError as error:
            raise bind_error(listen, error.strerror or str(error)) from None
        self._server.set_app(_only_metrics(app))
        self.address = f"{host}:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": _POLL_SECONDS}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.close()
        self._thread.join()
        self._server.server_close()


def _server_class(listen: str) -> "type[_Server]":
    return type("Server", (_Server,), {"address_family": family(listen)})


class _Server(ThreadingMixIn, WSGIServer):
    """Serves a few scrapers at a time, each in a thread. Others wait for a moment, then their connection is closed."""

    daemon_threads = True
    request_queue_size = 64
    # Some versions of Python turn it on: scrapes would then go to either of two servers on one port.
    allow_reuse_port = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._free = threading.BoundedSemaphore(_SCRAPES)
        self._is_closing = threading.Event()

    def close(self) -> None:
        """Accept no more scrapers."""
        self._is_closing.set()
        self.shutdown()

    def _take_turn(self) -> bool:
        """Wait for the end of another scrape. Return whether there was one in time."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while not self._free.acquire(timeout=_POLL_SECONDS):
            if self._is_closing.is_set() or time.monotonic() > until:
                return False
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._take_turn():
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def server_bind(self) -> None:
        # Not that of HTTPServer, which looks up the name of the host.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.socket.getsockname()[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore scrapers that break their connection or stay silent."""


class _Handler(WSGIRequestHandler):
    """Reads a request within a time limit, and logs nothing."""

    timeout = _SILENT_SECONDS

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""

    def get_stderr(self) -> io.StringIO:
        """Return where the library writes that a scraper did not read its answer: nowhere."""
        return io.StringIO()


def _only_metrics(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Serve the path of the metrics, and no other."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_head = environ["REQUEST_METHOD"] == "HEAD"
        headers: Sequence[tuple[str, str]]
        if environ["PATH_INFO"] != PATH:
            status, headers, body = "404 Not Found", [_PLAIN], f"metrics are at {PATH}\n".encode()
        else:
            status, headers, body = _answer(app, environ | ({"REQUEST_METHOD": "GET"} if is_head else {}))
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        return [] if is_head else [body]

    return serve


_PLAIN = ("Content-Type", "text/plain; charset=utf-8")


def _answer(
    app: Callable[..., Iterable[bytes]], environ: dict[str, Any]
) -> tuple[str, Sequence[tuple[str, str]], bytes]:
    """Return the status, the headers and the body of an application's answer."""
    begun: list[tuple[str, Sequence[tuple[str, str]]]] = []
    accepted = {
        "HTTP_ACCEPT": media_type(environ.get("HTTP_ACCEPT", "")),
        "HTTP_ACCEPT_ENCODING": "gzip" if takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")) else "",
    }
    try:
        body = b"".join(app(environ | accepted, lambda status, headers: begun.append((status, headers))))
    except Exception:  # noqa: BLE001 - the library would write the stack to stderr, beside the log
        _LOG.exception("the metrics cannot be collected")
        return (
            "500 Internal Server Error",
            [_PLAIN],
            b"the metrics cannot be collected: the log of the server says why\n",
        )
    [(status, headers)] = begun
    return status, headers, body
