"""Where the process's finished spans go: to each exporter, through a queue of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from tokenwire.telemetry.attributes import DISCARDED, SAMPLED
from tokenwire.telemetry.losses import count_lost

MAX_QUEUE_SIZE: Final = 16_384
"""Spans that wait for export. The SDK's 2,048 lose the oldest ones in a burst, with little said."""

MAX_BATCH_SIZE: Final = 256
"""Half of the SDK's: a span of tokens has at most 12 kB, and gRPC refuses messages above 4 MiB as a whole."""


class CountingProcessor(BatchSpanProcessor):
    """The SDK's processor, which counts the spans that it loses.

    Args:
        exporter: Where spans go.
        max_queue_size: How many may wait.
        schedule_delay_ms: How long one waits at most; None for the SDK's own 5 s, or OTEL_BSP_SCHEDULE_DELAY.
    """

    def __init__(
        self, exporter: SpanExporter, *, max_queue_size: int, schedule_delay_ms: float | None = None
    ) -> None:
        super().__init__(
            _CountingExporter(exporter),
            max_queue_size,
            schedule_delay_ms,
            min(MAX_BATCH_SIZE, max_queue_size),
        )
        self._max_queue_size = max_queue_size

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span; where the queue is full the oldest one is lost, and counted."""
        # The SDK tells only a meter of its own, and only when it is asked to by an experimental variable.
        if len(self._batch_processor._queue) >= self._max_queue_size:  # noqa: SLF001
            count_lost("queue_full")
        super().on_end(span)


class _CountingExporter(SpanExporter):
    """An exporter whose failures are counted: the SDK's processor does not look at them."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            if result is not SpanExportResult.SUCCESS:
                count_lost("export_failed", len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class Pipeline(SpanProcessor):
    """Passes on finished spans: sampled ones, and unsampled ones that are kept.

    Args:
        processors: Each is given all of them.
    """

    def __init__(self, processors: Sequence[SpanProcessor]) -> None:
        self._processors = processors

    def on_end(self, span: ReadableSpan) -> None:
        """Pass on a span. One that is kept though unsampled has `tokenwire.sampled` by now."""
        if DISCARDED in (span.attributes or {}):
            return
        context = span.context
        if context is None or not context.trace_flags.sampled:
            if SAMPLED not in (span.attributes or {}):
                return
            # Processors and collectors leave out what says that it is not sampled.
            span = as_sampled(span, span.parent)
        for processor in self._processors:
            processor.on_end(span)

    def shutdown(self) -> None:
        """Export what waits and stop."""
        for processor in self._processors:
            processor.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what waits; return whether that was done in time."""
        flushed = [processor.force_flush(timeout_millis) for processor in self._processors]
        return all(flushed)


class Tracing:
    """What finished spans need besides the API: the process's provider, pipeline, resource and scope.

    Args:
        provider: The process's.
        pipeline: Takes the finished spans.
        scope: The process's.
        keeps: Whether bad streams are kept though unsampled.
    """

    def __init__(
        self, provider: TracerProvider, pipeline: Pipeline, scope: InstrumentationScope, *, keeps: bool
    ) -> None:
        self.provider = provider
        self.pipeline = pipeline
        self.scope = scope
        self.resource: Resource = provider.resource
        self.new_span_id = provider.id_generator.generate_span_id
        self.keeps = keeps


def as_sampled(span: ReadableSpan, parent: SpanContext | None) -> ReadableSpan:
    """Return a copy of a finished span that exporters take.

    Args:
        span: It, sampled or not.
        parent: The copy's parent; it names the trace where there is one.
    """
    assert span.context is not None  # noqa: S101 # it was started
    trace_id = parent.trace_id if parent is not None else span.context.trace_id
    return ReadableSpan(
        span.name,
        sampled_context(trace_id, span.context.span_id, span.context),
        parent,
        span.resource,
        span.attributes,
        span.events,
        span.links,
        span.kind,
        None,
        span.status,
        span.start_time,
        span.end_time,
        span.instrumentation_scope,
    )


def sampled_context(trace_id: int, span_id: int, like: SpanContext) -> SpanContext:
    """Return the context of a span that is sampled.

    Args:
        trace_id: Its trace.
        span_id: It.
        like: Whose other flags and trace state it has.
    """
    flags = TraceFlags(like.trace_flags | TraceFlags.SAMPLED)
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=like.trace_state)


def max_queue_size() -> int:
    """Return how many spans may wait for export: OTEL_BSP_MAX_QUEUE_SIZE, or 16,384.

    Raises:
        ValueError: The variable holds no such number.
    """
    said = os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "").strip()
    if not said:
        return MAX_QUEUE_SIZE
    if not said.isascii() or not said.isdigit() or int(said) == 0:
        message = f"OTEL_BSP_MAX_QUEUE_SIZE: {said!r} is not a number above 0"
        raise ValueError(message)
    return int(said)
