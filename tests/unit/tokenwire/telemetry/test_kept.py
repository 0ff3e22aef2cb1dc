"""Finished spans, and streams that are kept though they were not sampled."""

from __future__ import annotations

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBasedTraceIdRatio
from opentelemetry.trace import INVALID_SPAN, INVALID_SPAN_CONTEXT, SpanKind

from tests.support.spans import own_tracing
from tokenwire.rate import Rate
from tokenwire.telemetry import discard, keep, kept, lost_spans, make_child, stream_root

NEVER = ParentBasedTraceIdRatio(0.0)
BEGIN, END = 1_700_000_000_000_000_001, 1_700_000_000_000_000_999


@pytest.fixture(autouse=True)
def full_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been kept yet."""
    monkeypatch.setattr(kept, "_rate", Rate(kept.KEPT_PER_S))


def test_a_child_of_a_sampled_span_is_exported_at_once() -> None:
    """With the times that it was given, in the process's resource and scope."""
    with own_tracing(ALWAYS_ON) as (tracer, exporter):
        parent = tracer.start_span("stream", Context())
        event = Event("token", {"n": 1}, BEGIN)
        left = make_child(
            parent.get_span_context(), "tokens", BEGIN, END, {"a": "1"}, kind=SpanKind.CLIENT, events=[event]
        )
        assert left is None
        (child,) = exporter.get_finished_spans()
        parent.end()
        root = exporter.get_finished_spans()[-1]
    assert (child.name, child.start_time, child.end_time) == ("tokens", BEGIN, END)
    assert (child.attributes, child.events, child.kind) == ({"a": "1"}, (event,), SpanKind.CLIENT)
    assert child.parent == parent.get_span_context()
    assert child.context is not None
    assert child.context.trace_flags == parent.get_span_context().trace_flags
    assert child.resource is root.resource
    assert child.instrumentation_scope is not None
    assert child.instrumentation_scope.name == "tests"


def test_a_bad_stream_is_exported_with_its_children_at_its_end() -> None:
    """As one sampled trace, whose root says why it is there."""
    with own_tracing(NEVER) as (tracer, exporter):
        root = tracer.start_span("stream", stream_root(Context()))
        child = make_child(root.get_span_context(), "tokens", BEGIN, END, {})
        assert child is not None
        assert exporter.get_finished_spans() == ()
        assert keep(root, [child], "stall")
        root.end()
        exported_child, exported_root = exporter.get_finished_spans()
    assert exported_root.attributes == {"tokenwire.sampled": "stall"}
    assert exported_root.context is not None
    assert exported_root.context.span_id == root.get_span_context().span_id
    assert exported_child.parent == exported_root.context
    assert exported_root.context.trace_flags.sampled
    assert exported_child.context is not None
    assert exported_child.context.trace_flags.sampled
    assert exported_child.context.trace_id == exported_root.context.trace_id


def test_children_of_other_spans_come_below_the_root_of_a_kept_stream() -> None:
    """The spans that they were made for are not exported: nothing else is there to hang them on."""
    with own_tracing(NEVER) as (tracer, exporter):
        root = tracer.start_span("stream", stream_root(Context()))
        other = tracer.start_span("rpc", Context())
        child = make_child(other.get_span_context(), "stall link", BEGIN, END, {})
        assert child is not None
        keep(root, [child], "error")
        root.end()
        exported, exported_root = exporter.get_finished_spans()
    assert exported.parent == exported_root.context
    assert exported.context is not None
    assert exported.context.trace_id == root.get_span_context().trace_id


def test_so_many_are_kept_a_second_and_the_others_are_counted() -> None:
    """When all streams fail at once, ten of them tell why."""
    with own_tracing(NEVER) as (tracer, exporter):
        before = lost_spans()["kept_rate"]
        answers = []
        for _ in range(13):
            root = tracer.start_span("stream", stream_root(Context()))
            answers.append(keep(root, [], "error"))
            root.end()
        assert answers == [True] * 10 + [False] * 3
        assert len(exporter.get_finished_spans()) == 10
        assert lost_spans()["kept_rate"] - before == 3


def test_a_sampled_stream_is_not_kept_a_second_time() -> None:
    """It is exported anyway, and takes no other one's place."""
    with own_tracing(ALWAYS_ON) as (tracer, exporter):
        root = tracer.start_span("stream", stream_root(Context()))
        assert not keep(root, [], "error")
        root.end()
        (exported,) = exporter.get_finished_spans()
    assert exported.attributes == {}


def test_without_tracing_nothing_is_made_or_kept() -> None:
    """The callers do not ask first."""
    with own_tracing(NEVER, keeps=False) as (tracer, exporter):
        root = tracer.start_span("stream", stream_root(Context()))
        assert not keep(root, [], "error")
        assert not keep(INVALID_SPAN, [], "error")
        assert make_child(INVALID_SPAN_CONTEXT, "tokens", BEGIN, END, {}) is None
        root.end()
    assert exporter.get_finished_spans() == ()


def test_a_discarded_span_is_not_exported() -> None:
    """Though its trace is sampled."""
    with own_tracing(ALWAYS_ON) as (tracer, exporter):
        discard(tracer.start_span("try", Context()))
    assert exporter.get_finished_spans() == ()


def test_a_rate_fills_again() -> None:
    """As much as its second's worth, however long nothing was taken."""
    now_s = 100.0
    rate = Rate(2, clock_s=lambda: now_s)
    assert [rate.take() for _ in range(3)] == [True, True, False]
    now_s += 0.5
    assert [rate.take() for _ in range(2)] == [True, False]
    now_s += 60
    assert [rate.take() for _ in range(3)] == [True, True, False]
