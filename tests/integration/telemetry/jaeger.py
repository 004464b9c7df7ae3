"""A temporary Jaeger on loopback, which receives spans by OTLP and returns traces."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.ports import free_port, wait_for_http

PROGRAM = "jaeger"


@dataclass(frozen=True)
class Span:
    name: str
    kind: int
    parent_id: str
    span_id: str
    service: str
    attributes: dict[str, Any]
    failed: bool


@dataclass(frozen=True)
class Jaeger:
    """A running Jaeger: its endpoint for OTLP over HTTP, and its query API."""

    otlp_url: str
    query_url: str

    def trace(self, trace_id: str, *, at_least: int) -> list[Span]:
        """Return the spans of a trace, once there are at least so many."""
        deadline = time.monotonic() + 20
        spans: list[Span] = []
        while len(spans) < at_least:
            assert time.monotonic() < deadline, f"trace {trace_id} has {len(spans)} spans, not {at_least}"
            time.sleep(0.05)
            try:
                with urllib.request.urlopen(f"{self.query_url}/api/v3/traces/{trace_id}", timeout=5) as answer:
                    spans = list(_spans(json.load(answer)["result"]))
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
        return spans


def _spans(result: dict[str, Any]) -> Iterator[Span]:
    for resource in result["resourceSpans"]:
        service = _attributes(resource["resource"])["service.name"]
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                yield Span(
                    span["name"],
                    span["kind"],
                    span.get("parentSpanId", ""),
                    span["spanId"],
                    service,
                    _attributes(span),
                    span.get("status", {}).get("code") == 2,
                )


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in holder.get("attributes", ())}


@contextmanager
def running(folder: Path) -> Iterator[Jaeger]:
    otlp, query, grpc = free_port(), free_port(), free_port()
    config = folder / "jaeger.yaml"
    config.write_text(_CONFIGURATION.format(otlp=otlp, query=query, grpc=grpc))
    with (folder / "jaeger.log").open("w") as log:
        process = subprocess.Popen([PROGRAM, "--config", str(config)], stdout=log, stderr=log)
        try:
            found = Jaeger(f"http://127.0.0.1:{otlp}", f"http://127.0.0.1:{query}")
            wait_for_http(f"{found.query_url}/api/v3/services")
            yield found
        finally:
            process.terminate()
            process.wait(15)


_CONFIGURATION = """
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
extensions:
  jaeger_storage:
    backends: {{memory: {{memory: {{max_traces: 10000}}}}}}
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{grpc}"}}
receivers:
  otlp:
    protocols:
      http: {{endpoint: "127.0.0.1:{otlp}"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"""
