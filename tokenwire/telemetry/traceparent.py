"""The W3C traceparent as text, with all of its flags.

Source: https://www.w3.org/TR/trace-context-2/#traceparent-header
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_propagator = TraceContextTextMapPropagator()


def format_traceparent(span: SpanContext) -> str:
    """Return what names a span to other processes.

    Args:
        span: A valid one.
    """
    ids = f"{trace.format_trace_id(span.trace_id)}-{trace.format_span_id(span.span_id)}"
    return f"00-{ids}-{span.trace_flags:02x}"


def parse_traceparent(text: str) -> SpanContext:
    """Return the span that a text names; an invalid one where it names none.

    Args:
        text: From `format_traceparent`, or from elsewhere.
    """
    context = _propagator.extract({"traceparent": text}, Context())
    return trace.get_current_span(context).get_span_context()


def unsampled(span: SpanContext) -> SpanContext:
    """Return the same context, but not sampled: what it is passed to records nothing.

    Args:
        span: Any.
    """
    flags = TraceFlags(span.trace_flags & ~TraceFlags.SAMPLED)
    return SpanContext(span.trace_id, span.span_id, span.is_remote, flags, span.trace_state)
