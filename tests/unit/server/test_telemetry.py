"""The span of a call, and its trace id while no program collects spans."""

import re

import pytest
from holdfast_server import telemetry
from holdfast_server.telemetry import CallSpan
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import get_current_span

METHOD = "holdfast.v1.CheckpointService/Save"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


@pytest.fixture
def finished(monkeypatch):
    """Collect spans, and return a function that returns those that have ended."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "_TRACER", provider.get_tracer("test"))
    return exporter.get_finished_spans


def test_without_a_collector_a_call_has_the_trace_id_of_its_caller():
    with CallSpan(METHOD, PARENT) as span:
        assert span.trace_id == TRACE
        span.describe(namespace="n")
        span.failed("INTERNAL", "INTERNAL")
        assert not get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    "given", ["", "00", f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE.upper()}-b7ad6b7169203331-01"]
)
def test_without_a_valid_parent_a_call_has_a_random_trace_id(given):
    headers = {"traceparent": given}
    with CallSpan(METHOD, headers) as one, CallSpan(METHOD, headers) as other:
        assert re.fullmatch("[0-9a-f]{32}", one.trace_id)
        assert one.trace_id != other.trace_id


def test_a_collected_span_is_current_and_a_child_of_its_caller(finished):
    with CallSpan(METHOD, PARENT) as span:
        span.describe(namespace="n", workflow="")
        span.failed("OVERLOADED", "RESOURCE_EXHAUSTED")
        assert f"{get_current_span().get_span_context().trace_id:032x}" == TRACE
    assert not get_current_span().get_span_context().is_valid
    [ended] = finished()
    assert f"{ended.parent.span_id:016x}" == "b7ad6b7169203331"
    assert ended.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": "RESOURCE_EXHAUSTED",
        "error.type": "OVERLOADED",
        "holdfast.reason": "OVERLOADED",
        "holdfast.namespace": "n",
    }
