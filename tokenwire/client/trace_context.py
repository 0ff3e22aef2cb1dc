"""The caller's trace, for the server: a run is then part of it.

Source: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

from typing import Final

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR: Final = TraceContextTextMapPropagator()


def trace_headers() -> dict[str, str]:
    """Return what names the current span: `traceparent`, and `tracestate` if there is one; empty without."""
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers)
    return headers
