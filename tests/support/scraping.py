"""Servers that Prometheus can read, and scrapes of their metrics."""

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support import servers

_OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@dataclass(frozen=True, slots=True)
class Scraped:
    """A server with an endpoint for metrics.

    Attributes:
        target: the address of the API.
        metrics_address: host:port of the metrics.

    """

    target: str
    metrics_address: str

    @property
    def url(self) -> str:
        """The URL of the metrics."""
        return f"http://{self.metrics_address}/metrics"

    def text(self) -> str:
        """Return the metrics as OpenMetrics."""
        request = urllib.request.Request(self.url, headers={"Accept": _OPENMETRICS})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            return answer.read().decode()

    def metrics(self) -> dict[str, Metric]:
        """Return the metrics by name."""
        return {metric.name: metric for metric in text_string_to_metric_families(self.text())}


@contextmanager
def scraped(
    store_url: str, *flags: str, environment: Mapping[str, str] | None = None, metrics_listen: str = "127.0.0.1:0"
) -> Iterator[Scraped]:
    """Run a server with an endpoint for metrics while the block lasts, then drain it."""
    process = servers.started(
        "--listen",
        "127.0.0.1:0",
        "--store",
        store_url,
        "--metrics-listen",
        metrics_listen,
        *flags,
        environment=environment,
    )
    try:
        line = json.loads(process.stdout.readline())
        yield Scraped(line["address"], line["metrics_address"])
    finally:
        process.terminate()
        assert process.wait(30) == 0


def value(metric: Metric, name: str, **labels: str) -> float:
    """Return the value of one series of a metric, by some of its labels."""
    [found] = [
        sample.value for sample in metric.samples if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return found
