"""Metrics, as a collector receives them over OTLP."""

import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import holdfast
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.support.damage import damage_newest
from tests.support.servers import server

FORMAT = holdfast.Format("test", 1)


@pytest.fixture
def collector():
    """Run a collector of metrics. Yield its URL and the requests that it receives."""
    received = []

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    listening = HTTPServer(("127.0.0.1", 0), Receive)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}/v1/metrics", received
    listening.shutdown()
    thread.join()
    listening.server_close()


def points(received):
    """Return the last points of each metric, with their attributes."""
    found = {}
    for resource in received[-1].resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                data = metric.sum if metric.HasField("sum") else metric.histogram
                found[metric.name] = [
                    ({each.key: each.value.string_value for each in point.attributes}, point)
                    for point in data.data_points
                ]
    return found


async def test_calls_failures_bytes_fallbacks_and_store_requests_are_counted(collector, tmp_path):
    url, received = collector
    environment = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": url, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
    with server(tmp_path.as_uri(), environment=environment) as target:
        async with holdfast.AsyncClient(target) as client:
            for _ in range(2):
                await client.save("n", "w", os.urandom(100_000), format=FORMAT)
            damage_newest(tmp_path)
            assert (await client.load("n", "w", fallback=True)).fell_back
            with pytest.raises(holdfast.WorkflowNotFoundError):
                await client.load("n", "nobody")
    found = points(received)
    calls = {
        (names["rpc.method"].rpartition("/")[2], names.get("error.type", "")): point.count
        for names, point in found["rpc.server.call.duration"]
    }
    assert calls == {("Save", ""): 2, ("Load", ""): 1, ("Load", "WORKFLOW_NOT_FOUND"): 1}
    moved = {names["holdfast.direction"]: point.as_int for names, point in found["holdfast.payload.size"]}
    assert moved == {"saved": 200_000, "loaded": 100_000}
    assert [point.as_int for _, point in found["holdfast.fallbacks"]] == [1]
    [cost] = [point for names, point in found["holdfast.call.store_requests"] if names["rpc.method"].endswith("/Save")]
    # A blob and its marker.
    assert (cost.count, cost.min) == (2, 2)
    operations = {names["holdfast.store.operation"] for names, _ in found["holdfast.store.request.duration"]}
    assert {"put_if_absent", "put", "get", "list"} <= operations
