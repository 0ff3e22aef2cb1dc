"""Which spans are recorded, and which are exported."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_OFF, DEFAULT_ON, ParentBasedTraceIdRatio
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from tests.support.spans import own_tracing
from tokenwire.telemetry import is_recorded, is_sampled, stream_root
from tokenwire.telemetry.setup import make_tracing

NEVER = ParentBasedTraceIdRatio(0.0)


def remote(flags: int) -> Context:
    """Return the context of a caller whose trace has these flags."""
    caller = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(flags))
    return trace.set_span_in_context(NonRecordingSpan(caller), Context())


def test_only_roots_of_streams_are_recorded_beyond_the_operators_choice() -> None:
    """Of a request that is no stream there is nothing to learn at its end."""
    with own_tracing(NEVER) as (tracer, exporter):
        root = tracer.start_span("stream", stream_root(Context()), attributes={"at": "start"})
        other = tracer.start_span("request", Context())
        assert (is_recorded(root), is_sampled(root)) == (True, False)
        assert (is_recorded(other), is_sampled(other)) == (False, False)
        assert root.attributes == {"at": "start"}  # type: ignore[attr-defined]
        root.end()
    assert exporter.get_finished_spans() == ()


def test_what_stands_below_an_unsampled_root_is_neither_recorded_nor_told_to_be() -> None:
    """The core reads the flag: a kept root must not cost it the spans of a run."""
    with own_tracing(NEVER) as (tracer, _):
        root = tracer.start_span("stream", stream_root(Context()))
        child = tracer.start_span("rpc", trace.set_span_in_context(root, Context()))
        assert not is_recorded(child)
        assert not child.get_span_context().trace_flags.sampled
        assert child.get_span_context().trace_id == root.get_span_context().trace_id


@pytest.mark.parametrize(("flags", "sampled"), [(0, False), (1, True), (3, True)])
def test_a_callers_decision_holds_and_its_bad_streams_are_recorded(flags: int, sampled: bool) -> None:
    """A caller who samples its own traces has not asked to be left without the bad ones of ours."""
    with own_tracing(DEFAULT_ON) as (tracer, _):
        root = tracer.start_span("stream", stream_root(remote(flags)))
        assert (is_recorded(root), is_sampled(root)) == (True, sampled)


def test_nothing_is_recorded_where_streams_are_not_kept() -> None:
    """TOKENWIRE_TRACE_DETAIL=off."""
    with own_tracing(NEVER, keeps=False) as (tracer, _):
        assert not is_recorded(tracer.start_span("stream", stream_root(Context())))


@pytest.mark.parametrize(
    ("sampler", "argument", "recorded"),
    [
        ("always_off", "", False),
        ("parentbased_always_off", "", False),
        ("traceidratio", "0", True),
        ("parentbased_traceidratio", "0", True),
        ("always_on", "", True),
        ("", "", True),
    ],
)
def test_off_is_off_and_a_ratio_keeps_the_bad_ones(
    sampler: str, argument: str, recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OTEL_TRACES_SAMPLER says: none at all, or few of the good ones."""
    monkeypatch.delenv("OTEL_TRACES_SAMPLER", raising=False)
    if sampler:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    tracing = make_tracing([], scope="tests")
    span = tracing.provider.get_tracer("tests").start_span("stream", stream_root(Context()))
    assert is_recorded(span) is recorded
    assert tracing.keeps is recorded
    assert is_sampled(span) is (sampler in {"always_on", ""})
    tracing.provider.shutdown()


def test_its_name_tells_both() -> None:
    """It stands in the SDK's own diagnostics."""
    for chosen in (ALWAYS_OFF, DEFAULT_OFF):
        with own_tracing(chosen) as (tracer, _):
            assert chosen.get_description() in tracer.sampler.get_description()  # type: ignore[attr-defined]
