"""The endpoint of metrics answers every scraper in a form that it accepts."""

import gzip
import http.client
import http.server
import socket
import threading

import pytest
from holdfast_server import metrics_endpoint
from holdfast_server.accepted import OPENMETRICS, TEXT, media_type, takes_gzip
from holdfast_server.metrics_endpoint import MetricsEndpoint
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider

from tests.support.ports import skip_without_ipv6

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture(params=["127.0.0.1:0", "[::1]:0", "[::]:0", "localhost:0"])
def address(request):
    if ":" in request.param.rpartition(":")[0]:
        skip_without_ipv6()
    yield from serving(request.param)


@pytest.fixture
def local():
    yield from serving("127.0.0.1:0")


def serving(listen):
    endpoint = MetricsEndpoint(listen)
    MeterProvider([endpoint.reader]).get_meter("m").create_counter("holdfast.a").add(1)
    host, _, port = endpoint.address.rpartition(":")
    yield ("127.0.0.1" if host == "[::]" else host.strip("[]")), int(port)
    endpoint.close()


def ask(address, method="GET", path="/metrics", **headers):
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_each_family_of_addresses_is_served(address):
    answer, body = ask(address)
    assert answer.status == 200
    assert b"holdfast_a_total 1.0" in body
    assert b"process_start_time_seconds" in body


def test_a_second_endpoint_on_the_port_is_refused(monkeypatch):
    # As in later versions of Python.
    monkeypatch.setattr(http.server.HTTPServer, "allow_reuse_port", True, raising=False)
    first = MetricsEndpoint("127.0.0.1:0")
    try:
        with pytest.raises(OSError, match=r"cannot listen on 127.0.0.1:\d+: Address already in use"):
            MetricsEndpoint(first.address)
    finally:
        first.close()


@pytest.mark.parametrize(("path", "status"), [("/metrics", 200), ("/", 404)])
def test_a_head_is_answered_like_a_get_without_a_body(local, path, status):
    answer, _ = ask(local, "HEAD", path)
    assert answer.status == status
    assert int(answer.headers["Content-Length"]) > 0
    with socket.create_connection(local) as connection:
        connection.sendall(f"HEAD {path} HTTP/1.0\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert received.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PROMETHEUS, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; Version=1.0.0", OPENMETRICS),
        ("text/plain, application/openmetrics-text", OPENMETRICS),
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("application/openmetrics-text; version=abc", TEXT),
        ("application/openmetrics-text; version=9.9", TEXT),
        ("application/openmetrics-text;q=0, text/plain;q=0.1", TEXT),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;q=many", TEXT),
        ("application/openmetrics-text;q=nan", TEXT),
        (";;=,,=;q", TEXT),
    ],
)
def test_the_form_is_the_one_that_the_scraper_prefers(local, accept, expected):
    assert media_type(accept) == expected
    answer, body = ask(local, Accept=accept)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(expected)
    assert body.endswith(b"# EOF\n") == (expected == OPENMETRICS)


@given(st.text(max_size=100))
def test_no_header_is_an_error(header):
    assert media_type(header) in (OPENMETRICS, TEXT)
    assert takes_gzip(header) in (True, False)


@pytest.mark.parametrize(
    ("encodings", "is_packed"),
    [("gzip", True), ("GZIP", True), ("deflate, gzip;q=0.5", True), ("gzip;q=0", False), ("br", False), ("", False)],
)
def test_an_answer_is_compressed_if_the_scraper_takes_that(local, encodings, is_packed):
    answer, body = ask(local, Accept_Encoding=encodings)
    assert (answer.headers.get("Content-Encoding") == "gzip") == is_packed
    assert b"holdfast_a_total" in (gzip.decompress(body) if is_packed else body)
    assert int(answer.headers["Content-Length"]) == len(body)


def test_a_scraper_may_ask_for_metrics_by_name(local):
    _, body = ask(local, path="/metrics?name[]=holdfast_a_total&name[]=none")
    assert [line for line in body.decode().splitlines() if not line.startswith("#")] == ["holdfast_a_total 1.0"]


def test_many_scrapers_at_once_are_all_answered(local, monkeypatch):
    # Whatever else this machine does.
    monkeypatch.setattr(metrics_endpoint, "_PATIENCE_SECONDS", 60)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(local)[0].status)) for _ in range(24)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert answers == [200] * 24


def test_a_collection_that_fails_is_logged_and_answered_in_one_line(local, monkeypatch, caplog, capfd):
    def fail(*arguments):
        raise RuntimeError("no metrics")

    monkeypatch.setattr("prometheus_client.exposition._bake_output", fail)
    answer, body = ask(local)
    assert answer.status == 500
    assert body == b"the metrics cannot be collected: the log of the server says why\n"
    assert "the metrics cannot be collected" in caplog.text
    assert capfd.readouterr().err == ""
