"""The queue of an exporter, and what is lost in it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from tokenwire.telemetry import lost_spans
from tokenwire.telemetry.pipeline import MAX_QUEUE_SIZE, CountingProcessor, max_queue_size
from tokenwire.telemetry.setup import make_tracing


class Stuck(SpanExporter):
    """A collector that takes nothing until it is let go."""

    def __init__(self, result: SpanExportResult) -> None:
        self.result = result
        self.begun, self.go = threading.Event(), threading.Event()
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.begun.set()
        self.go.wait(30)
        self.taken += len(spans)
        return self.result


def export(exporter: Stuck, spans: int, queue: int) -> dict[str, int]:
    """Return what is lost of spans that end while the exporter is stuck with a first one."""
    before = lost_spans()
    processor = CountingProcessor(exporter, max_queue_size=queue, schedule_delay_ms=1)
    tracing = make_tracing([processor], scope="tests", sampler=ALWAYS_ON)
    tracer = tracing.provider.get_tracer("tests")
    tracer.start_span("first", Context()).end()
    assert exporter.begun.wait(30)
    for _ in range(spans):
        tracer.start_span("span", Context()).end()
    exporter.go.set()
    tracing.provider.shutdown()
    return {reason: lost - before[reason] for reason, lost in lost_spans().items()}


def test_what_a_full_queue_loses_is_counted() -> None:
    """Each lost span once; all others are exported."""
    exporter = Stuck(SpanExportResult.SUCCESS)
    assert export(exporter, 30, queue=20) == {
        "queue_full": 10,
        "export_failed": 0,
        "kept_rate": 0,
        "recorder_failed": 0,
    }
    assert exporter.taken == 1 + 20


def test_what_the_collector_refuses_is_counted() -> None:
    """The SDK's processor forgets it without a word."""
    exporter = Stuck(SpanExportResult.FAILURE)
    assert export(exporter, 5, queue=20) == {
        "queue_full": 0,
        "export_failed": 6,
        "kept_rate": 0,
        "recorder_failed": 0,
    }


def test_the_queues_size_is_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """16,384 unless OTEL_BSP_MAX_QUEUE_SIZE says otherwise; rubbish is named."""
    monkeypatch.delenv("OTEL_BSP_MAX_QUEUE_SIZE", raising=False)
    assert max_queue_size() == MAX_QUEUE_SIZE == 16_384
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", " 64 ")
    assert max_queue_size() == 64
    for rubbish in ("0", "-1", "many"):
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", rubbish)
        with pytest.raises(ValueError, match="OTEL_BSP_MAX_QUEUE_SIZE"):
            max_queue_size()
