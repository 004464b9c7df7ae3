"""Metrics, as Prometheus reads them from a server."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from fnmatch import fnmatch

import holdfast
import pytest
from holdfast_server import exports
from holdfast_server.config import ConfigError

from tests.support import servers
from tests.support.certificates import Authority
from tests.support.damage import damage_newest
from tests.support.otlp_receiver import receiving
from tests.support.repository import ROOT
from tests.support.scraping import scraped, value

FORMAT = holdfast.Format("langgraph-checkpoint", 1)
PAGE = ROOT / "docs" / "reference" / "metrics.md"
# A row of a table: a metric, its type, its labels.
_ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| ([\w`, *]*)\|$", re.MULTILINE)
_LABEL = re.compile(r"^\| `(\w+)` \| (?!counter|gauge|histogram)", re.MULTILINE)
_SUFFIXES = re.compile("_(bucket|sum|count)$")


@pytest.fixture
def collector():
    """Run a collector that takes everything and keeps nothing. Yield its URL."""
    with receiving() as url:
        yield url


async def test_a_scrape_counts_calls_by_method_and_reason_and_checkpoints_by_engine(tmp_path):
    with scraped(tmp_path.as_uri()) as served:
        async with holdfast.AsyncClient(served.target) as client:
            for _ in range(2):
                await client.save("n", "w", os.urandom(100_000), format=FORMAT)
            await client.save("n", "v", b"x", format=holdfast.Format("home-made", 1))
            await client.load("n", "w")
            with pytest.raises(holdfast.WorkflowNotFoundError):
                await client.load("n", "nobody")
        found = served.metrics()
    calls, name = found["rpc_server_call_duration_seconds"], "rpc_server_call_duration_seconds_count"
    load = "holdfast.v1.CheckpointService/Load"
    assert value(calls, name, rpc_method="holdfast.v1.CheckpointService/Save") == 3
    assert value(calls, name, rpc_method=load, rpc_response_status_code="OK") == 1
    assert value(calls, name, rpc_method=load, error_type="WORKFLOW_NOT_FOUND") == 1
    saved = {each.labels["holdfast_engine"]: each.value for each in found["holdfast_checkpoints"].samples}
    assert saved == {"langgraph": 2, "other": 1}
    moved = found["holdfast_payload_size_bytes"]
    assert value(moved, "holdfast_payload_size_bytes_total", holdfast_direction="loaded") == 100_000


async def test_a_first_failure_is_an_increase(tmp_path):
    with scraped(tmp_path.as_uri()) as served:
        before = served.metrics()
        async with holdfast.AsyncClient(served.target) as client:
            await client.save("n", "w", os.urandom(100_000), format=FORMAT)
            damage_newest(tmp_path)
            with pytest.raises(holdfast.CheckpointCorruptedError):
                await client.load("n", "w")
        after = served.metrics()
    reason = {"error_type": "CHECKPOINT_CORRUPTED"}
    assert value(before["holdfast_failures"], "holdfast_failures_total", **reason) == 0
    assert value(after["holdfast_failures"], "holdfast_failures_total", **reason) == 1
    for name in ("fallbacks", "orphans", "audit_lost", "collection_failures"):
        assert value(before[f"holdfast_{name}"], f"holdfast_{name}_total") == 0


async def test_no_label_names_a_namespace_a_workflow_or_a_caller(tmp_path):
    with scraped(tmp_path.as_uri()) as served:
        async with holdfast.AsyncClient(served.target) as client:
            for number in range(20):
                form = holdfast.Format(f"secret-{number}", 1)
                await client.save(f"secret-{number}", f"secret-{number}", b"x", format=form)
        assert "secret" not in served.text()


async def test_buckets_of_sampled_calls_have_exemplars_with_the_trace_id_of_the_call(collector, tmp_path):
    traces = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector}/v1/traces"}
    with scraped(tmp_path.as_uri(), environment=traces) as served:
        async with holdfast.AsyncClient(served.target) as client:
            saved = await client.save("n", "w", b"x", format=FORMAT)
        found = served.metrics()
    for name in ("rpc_server_call_duration_seconds", "holdfast_store_request_duration_seconds"):
        exemplars = [each.exemplar for each in found[name].samples if each.exemplar]
        assert saved.trace_id in {each.labels["trace_id"] for each in exemplars}
        for sample in found[name].samples:
            if sample.exemplar:
                assert sample.name == f"{name}_bucket"
                assert sample.exemplar.value <= float(sample.labels["le"])


async def test_every_metric_of_a_server_is_documented_and_every_documented_metric_exists(collector, tmp_path):
    pair = Authority(tmp_path / "tls").issue()
    folder = tmp_path / "store"
    flags = ["--tls-cert-file", str(pair.cert_file), "--tls-key-file", str(pair.key_file), "--gc-interval-seconds", "1"]
    with scraped(folder.as_uri(), *flags) as served:
        tls = holdfast.TLS(ca_file=tmp_path / "tls" / "ca.pem")
        async with holdfast.AsyncClient(served.target, tls=tls) as client:
            await client.save("n", "w", b"x", format=FORMAT)
            await client.load("n", "w")
            with pytest.raises(holdfast.WorkflowNotFoundError):
                await client.load("n", "nobody")
        deadline = time.monotonic() + 60
        while "holdfast_collection_end_seconds" not in (found := served.metrics()):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
    actual = {}
    for metric in found.values():
        for sample in metric.samples:
            name = _SUFFIXES.sub("", sample.name) if metric.type == "histogram" else sample.name
            kind = "gauge" if metric.type == "info" else metric.type
            labels = {label for label in sample.labels if label != "le"}
            actual[name] = (kind, actual.get(name, (kind, set()))[1] | labels)
    documented = {name: (kind, re.findall(r"[\w*]+", labels)) for name, kind, labels in _ROW.findall(PAGE.read_text())}
    # Store requests fail only if the store does.
    documented["holdfast_store_request_duration_seconds"][1].remove("error_type")
    assert actual.keys() == documented.keys()
    for name, (kind, labels) in actual.items():
        patterns = documented[name][1]
        assert kind == documented[name][0]
        assert {each for each in patterns if any(fnmatch(label, each) for label in labels)} == set(patterns)
        assert {each for each in labels if any(fnmatch(each, pattern) for pattern in patterns)} == labels


def test_every_label_is_explained():
    text = PAGE.read_text()
    used = {label for _, _, labels in _ROW.findall(text) for label in re.findall(r"[\w*]+", labels)}
    explained = set(_LABEL.findall(text))
    assert {label for label in used if "*" not in label} | {"rpc_response_status_code"} == explained


def test_the_endpoint_serves_metrics_only(tmp_path):
    with scraped(tmp_path.as_uri()) as served:
        address = f"http://{served.metrics_address}"
        with pytest.raises(urllib.error.HTTPError) as absent:
            urllib.request.urlopen(f"{address}/", timeout=30)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}/metrics", data=b"x", timeout=30)
        assert (absent.value.code, refused.value.code) == (404, 405)
        with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")


async def test_scrapers_that_stay_silent_are_bounded_and_hold_up_no_call(tmp_path):
    with scraped(tmp_path.as_uri()) as served:
        host, _, port = served.metrics_address.rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(8)]
        deadline = time.monotonic() + 60
        # The server accepts them one after another.
        while True:
            assert time.monotonic() < deadline
            with socket.create_connection((host, int(port))) as one_more:
                one_more.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                try:
                    if not one_more.recv(1):
                        break
                except ConnectionResetError:
                    break
        async with holdfast.AsyncClient(served.target) as client:
            await client.save("n", "w", b"x", format=FORMAT)
        for each in silent:
            each.close()
        while True:
            assert time.monotonic() < deadline
            try:
                assert "holdfast_checkpoints" in served.metrics()
                break
            except OSError:
                await asyncio.sleep(0.05)


def test_each_worker_has_metrics_of_its_own(tmp_path):
    process = servers.started(
        "--listen", "127.0.0.1:0", "--store", tmp_path.as_uri(), "--workers", "2", "--metrics-listen", "127.0.0.1:0"
    )
    try:
        addresses = {json.loads(process.stdout.readline())["metrics_address"] for _ in range(2)}
        assert len(addresses) == 2
        for address in addresses:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
                assert b"holdfast_store_ready 1.0" in answer.read()
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_an_address_in_use_ends_the_server_with_the_reason(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = servers.run(
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store",
            tmp_path.as_uri(),
            "--metrics-listen",
            address,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr == f"holdfast-server: cannot listen on {address}: Address already in use\n"


def test_without_the_exporter_the_setting_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "holdfast_server.metrics_endpoint", None)
    with pytest.raises(ConfigError, match=r"metrics_listen: needs holdfast-server\[prometheus\]"):
        exports._open_endpoint("127.0.0.1:0")
