"""The trace of a call in a program that collects no spans, or only passes a trace on."""

import pytest
from holdfast._core.errors import of_reason
from holdfast._core.telemetry import LogicalCall, collects_spans
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags


def headers(call, number):
    with call.attempt(number) as metadata:
        return dict(metadata)


def test_attempts_share_the_trace_and_have_spans_of_their_own_for_the_server():
    assert not collects_spans()
    with LogicalCall("Save", "r") as call:
        first, second = (headers(call, number)["traceparent"] for number in (1, 2))
    assert first[3:35] == second[3:35] == call.trace_id
    assert first[36:52] != second[36:52]


def test_two_calls_have_two_traces():
    with LogicalCall("Load", "") as one, LogicalCall("Load", "") as other:
        assert one.trace_id != other.trace_id


def test_a_program_that_is_part_of_a_trace_passes_it_on():
    parent = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(parent)))
    try:
        with LogicalCall("Save", "r") as call:
            assert call.trace_id == f"{0xABC:032x}"
            assert headers(call, 1)["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"
    finally:
        context.detach(token)


def test_an_error_leaves_the_programs_own_span_the_current_one():
    before = trace.get_current_span()
    error = of_reason("INTERNAL", "x")
    with pytest.raises(type(error)), LogicalCall("Save", "r") as call, call.attempt(1):
        raise error
    assert trace.get_current_span() is before
