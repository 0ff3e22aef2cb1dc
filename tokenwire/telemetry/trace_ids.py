"""What users quote to support, and the log knows."""

from __future__ import annotations

import secrets

from opentelemetry import trace
from opentelemetry.trace import SpanContext


def trace_id_of(span: SpanContext) -> str:
    """Return the id of a span's trace, sampled or not: 32 hex digits; empty where there is none.

    Args:
        span: The span's context.
    """
    return trace.format_trace_id(span.trace_id) if span.is_valid else ""


def new_trace_id() -> str:
    """Return a random one, for what is not traced."""
    return secrets.token_hex(16)
