"""The span `run lost`, which whoever closes a lost run writes into its trace.

The run's own span went with its process. The new one stands below it, and tells from when on nothing came.
"""

from __future__ import annotations

from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from tokenwire.telemetry import attributes, tracer

RUN_LOST: Final = "run lost"


def write_lost_run_span(
    run_id: str, parent: SpanContext, *, start_unix_nano: int, events: int, error_type: str
) -> None:
    """Write the span, from the run's last event until now.

    Args:
        run_id: The run.
        parent: Its `invoke_agent` span, sampled.
        start_unix_nano: When the last event was made that the log has of it.
        events: How many events the log has of it.
        error_type: Why it is lost.
    """
    span = tracer().start_span(
        RUN_LOST,
        trace.set_span_in_context(trace.NonRecordingSpan(parent), Context()),
        SpanKind.INTERNAL,
        {
            attributes.RUN_ID: run_id,
            attributes.RUN_EVENTS: events,
            attributes.ERROR_TYPE: error_type,
        },
        start_time=start_unix_nano,
    )
    span.set_status(Status(StatusCode.ERROR))
    span.end()
