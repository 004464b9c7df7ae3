"""Traces, read back from a real Jaeger."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import holdfast
import pytest
from holdfast._core import telemetry as client_telemetry
from holdfast_server import telemetry as server_telemetry
from holdfast_server.stores.traced import TracedStore
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.support.servers import server
from tests.support.watched import serving_watched

FORMAT = holdfast.Format("test", 1)
INTERNAL, SERVER, CLIENT = 1, 2, 3


@pytest.fixture
def provider(traces, monkeypatch):
    """Send the spans of client and server, which run in this process, to Jaeger."""
    provider = TracerProvider(resource=Resource.create({"service.name": "test"}))
    exporter = OTLPSpanExporter(endpoint=f"{traces.otlp_url}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(client_telemetry, "_TRACER", provider.get_tracer("holdfast"))
    monkeypatch.setattr(server_telemetry, "_TRACER", provider.get_tracer("holdfast.server"))
    yield provider
    provider.shutdown()


async def read(traces, trace_id, at_least):
    with ThreadPoolExecutor(1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: traces.trace(trace_id, at_least=at_least))


async def test_a_save_through_a_store_that_fails_twice_is_one_trace_with_three_attempts(traces, provider, tmp_path):
    async with serving_watched(tmp_path, around=TracedStore) as served, holdfast.AsyncClient(served.target) as client:
        failures = iter([True, True, False])
        served.store.lose_request = lambda operation, key: operation == "list" and next(failures)
        saved = await client.save("n", "w", b"x", format=FORMAT)
    spans = await read(traces, saved.trace_id, at_least=11)
    by_id = {span.span_id: span for span in spans}
    [logical] = [span for span in spans if span.kind == CLIENT and not span.name.startswith("store")]
    attempts = [span for span in spans if span.kind == INTERNAL]
    servers = [span for span in spans if span.kind == SERVER]
    stores = [span for span in spans if span.name.startswith("store")]
    assert logical.name == "holdfast.v1.CheckpointService/Save"
    assert not logical.failed
    assert {span.parent_id for span in attempts} == {logical.span_id}
    assert sorted((int(span.attributes["holdfast.attempt"]), span.failed) for span in attempts) == [
        (1, True),
        (2, True),
        (3, False),
    ]
    assert len(servers) == 3
    assert {span.parent_id for span in servers} == {span.span_id for span in attempts}
    for span in servers:
        asked_by = by_id[span.parent_id]
        assert span.failed == asked_by.failed
        assert span.attributes.get("error.type") == ("STORE_UNAVAILABLE" if span.failed else None)
        assert span.attributes["rpc.response.status_code"] == ("UNAVAILABLE" if span.failed else "OK")
        assert span.attributes["holdfast.namespace"] == "n"
        assert span.attributes["holdfast.workflow"] == "w"
    assert sorted((span.name, span.failed) for span in stores) == [
        ("store list", False),
        ("store list", True),
        ("store list", True),
        ("store put_if_absent", False),
    ]
    assert {span.parent_id for span in stores} == {span.span_id for span in servers}


async def test_the_trace_id_of_an_exception_opens_in_jaeger(traces, tmp_path):
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.otlp_url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with server(tmp_path.as_uri(), environment=environment) as target:
        async with holdfast.AsyncClient(target) as client:
            with pytest.raises(holdfast.WorkflowNotFoundError) as caught:
                await client.resume("n", "nobody", format=FORMAT)
    spans = await read(traces, caught.value.trace_id, at_least=2)
    [served] = [span for span in spans if span.kind == SERVER]
    assert served.service == "holdfast-server"
    assert served.name == "holdfast.v1.CheckpointService/Load"
    assert served.failed
    assert served.attributes["holdfast.reason"] == "WORKFLOW_NOT_FOUND"


async def test_a_program_without_tracing_gets_one_trace_id_for_all_attempts(traces, tmp_path):
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.otlp_url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with server(tmp_path.as_uri(), environment=environment) as target:
        async with holdfast.AsyncClient(target) as client:
            saved = await client.save("n", "w", b"x", format=FORMAT)
    spans = await read(traces, saved.trace_id, at_least=3)
    assert sorted(span.name for span in spans) == [
        "holdfast.v1.CheckpointService/Save",
        "store list",
        "store put_if_absent",
    ]
