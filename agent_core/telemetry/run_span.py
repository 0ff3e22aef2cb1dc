"""The span of one run, `invoke_agent {agent}`; and `run lost`, where its process is gone and can't end it.

A `run lost` span is written by the core that closes the run. It stands below the run's own, and begins at the
last event.
"""

from __future__ import annotations

import contextvars
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from agent_core.agents.events import Usage
from agent_core.log.records import Outcome
from tokenwire.telemetry import attributes, tracer
from tokenwire.telemetry.trace_ids import trace_id_of
from tokenwire.telemetry.traceparent import format_traceparent

RUN_LOST: Final = "run lost"


class RunSpan:
    """The span that covers a run from before its first event to after its last.

    Args:
        agent: The agent's name.
        run_id: The run.
        session_id: The session; empty for none.
        model: The model; empty when the agent names none.
        parent: The trace context of the call that started the run.
    """

    def __init__(self, *, agent: str, run_id: str, session_id: str, model: str, parent: Context) -> None:
        given = {
            attributes.GEN_AI_OPERATION_NAME: "invoke_agent",
            attributes.GEN_AI_AGENT_NAME: agent,
            attributes.RUN_ID: run_id,
            attributes.GEN_AI_CONVERSATION_ID: session_id,
            attributes.GEN_AI_REQUEST_MODEL: model,
        }
        self._span = tracer().start_span(
            f"invoke_agent {agent}",
            parent,
            SpanKind.INTERNAL,
            {name: value for name, value in given.items() if value},
        )
        self.context: SpanContext = self._span.get_span_context()
        """Names the span, for links to it."""

    @property
    def sampled(self) -> bool:
        """True when this process records the span and exports it."""
        return self._span.is_recording() and bool(self.context.trace_flags & TraceFlags.SAMPLED)

    @property
    def trace_id(self) -> str:
        """The trace's id, 32 hex digits; empty where there is none.

        Told though the trace is not sampled: the log has it, and so has the stream's trace where it is kept.
        """
        return trace_id_of(self.context)

    @property
    def traceparent(self) -> str:
        """The span as a W3C traceparent; empty when the run is not sampled."""
        return format_traceparent(self.context) if self.sampled else ""

    def current_context(self) -> contextvars.Context:
        """Return a fresh context in which this span is the current one.

        Fresh, because a run must not inherit what the call that started it has in its own.
        """
        fresh = contextvars.Context()
        fresh.run(otel_context.attach, trace.set_span_in_context(self._span, Context()))
        return fresh

    def add_follower(self, follower: SpanContext) -> None:
        """Link to the call of one who follows the run."""
        if follower.is_valid:
            self._span.add_link(follower)

    def add_event(self, name: str, given: dict[str, str]) -> None:
        """Add an event, now.

        Args:
            name: What has happened.
            given: Its attributes. No text of users, nor of the agent.
        """
        self._span.add_event(name, given)

    def record_exception(self, error: BaseException) -> None:
        """Record what the agent raised."""
        self._span.record_exception(error)

    def end(self, outcome: Outcome | None, *, events: int, usage: Usage | None, stop_cause: str) -> None:
        """End the span.

        Args:
            outcome: How the run ended; None when its log was lost.
            events: How many events it had.
            usage: Tokens used, when the agent has said so.
            stop_cause: What stopped the run; empty when it ended by itself.
        """
        span = self._span
        span.set_attribute(attributes.RUN_EVENTS, events)
        if stop_cause:
            span.set_attribute(attributes.RUN_STOP_CAUSE, stop_cause)
        if usage is not None and usage.input_tokens is not None:
            span.set_attribute(attributes.GEN_AI_USAGE_INPUT_TOKENS, usage.input_tokens)
        if usage is not None and usage.output_tokens is not None:
            span.set_attribute(attributes.GEN_AI_USAGE_OUTPUT_TOKENS, usage.output_tokens)
        if outcome is not None and outcome.event == "done":
            span.set_attribute(attributes.GEN_AI_RESPONSE_FINISH_REASONS, [outcome.reason])
            if outcome.reason == "cancelled":
                # Not an error: a caller wanted it.
                span.set_attribute(attributes.CANCELLED, True)
        else:
            span.set_attribute(attributes.ERROR_TYPE, outcome.reason if outcome else "LOG_REFUSED")
            span.set_status(Status(StatusCode.ERROR))
        span.end()


def write_lost_run_span(
    run_id: str, parent: SpanContext, *, start_unix_nano: int, events: int, error_type: str
) -> None:
    """Write the span `run lost`, from the run's last event until now.

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
