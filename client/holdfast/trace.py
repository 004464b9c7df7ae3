"""The trace of a call, as W3C trace context: the caller's where it has one, else a fresh one."""

import secrets
from dataclasses import dataclass

from opentelemetry import trace


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A trace id and the id of the span that the call belongs to."""

    trace_id: str
    span_id: str

    @property
    def traceparent(self) -> str:
        """The value of the `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-01"


def current() -> TraceContext:
    """The trace that a call made now belongs to; without one, all its tries share a fresh trace."""
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        return TraceContext(f"{span.trace_id:032x}", f"{span.span_id:016x}")
    return TraceContext(secrets.token_hex(16), secrets.token_hex(8))
