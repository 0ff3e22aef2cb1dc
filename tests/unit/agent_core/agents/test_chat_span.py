"""Spans of model calls."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as convention
from opentelemetry.trace import SpanKind, StatusCode

from agent_core.agents import AgentError, Finish, Usage
from agent_core.agents.chat_span import ChatSpan
from tests.support.spans import use_provider
from tokenwire.telemetry import attributes as names
from tokenwire.telemetry.metrics import Histogram, instruments


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    use_provider(provider, monkeypatch)
    return exporter


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def test_names_are_the_conventions_own() -> None:
    """Each GenAI name of ours stands in the conventions under the same constant."""
    own = {name: value for name, value in vars(names).items() if name.startswith("GEN_AI_")}
    assert own == {name: getattr(convention, name) for name in own}


def test_a_finished_call_tells_its_usage(exporter: InMemorySpanExporter) -> None:
    """The span has what was asked, the first chunk's time, the end and the tokens; it is never current."""
    with ChatSpan("tiny", max_tokens=9) as span:
        assert not trace.get_current_span().get_span_context().is_valid
        span.chunk()
        span.chunk()
        span.finish(Finish("length", Usage(3, 4)))
    ended = only(exporter)
    attributes = dict(ended.attributes or {})
    assert (ended.name, ended.kind) == ("chat tiny", SpanKind.INTERNAL)
    assert 0 <= float(str(attributes.pop(names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK))) < 60
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "tokenwire.embedded",
        "gen_ai.request.model": "tiny",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
    }
    assert ended.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("usage", [None, Usage()])
def test_unknown_usage_is_left_out(exporter: InMemorySpanExporter, usage: Usage | None) -> None:
    """A number that nobody told is not a number."""
    with ChatSpan("tiny", max_tokens=9) as span:
        span.finish(Finish("stop", usage))
    assert not any(name.startswith("gen_ai.usage") for name in only(exporter).attributes or {})


@pytest.mark.parametrize(
    ("error", "name"), [(AgentError("UNAVAILABLE", "Away."), "UNAVAILABLE"), (KeyError("x"), "KeyError")]
)
def test_a_failure_is_an_error(exporter: InMemorySpanExporter, error: Exception, name: str) -> None:
    """A failed call has status ERROR and the kind of error; the error goes on."""
    with pytest.raises(type(error)), ChatSpan("tiny", max_tokens=9):
        raise error
    ended = only(exporter)
    assert ended.status.status_code is StatusCode.ERROR
    assert (ended.attributes or {})[names.ERROR_TYPE] == name


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit()])
def test_cancelling_is_no_error(exporter: InMemorySpanExporter, error: BaseException) -> None:
    """A cancelled call is marked as such, with its status unset."""
    with pytest.raises(type(error)), ChatSpan("tiny", max_tokens=9):
        raise error
    ended = only(exporter)
    assert ended.status.status_code is StatusCode.UNSET
    assert (ended.attributes or {})[names.CANCELLED] is True
    assert names.ERROR_TYPE not in (ended.attributes or {})


def test_leaving_after_the_end_cancels_nothing(exporter: InMemorySpanExporter) -> None:
    """A reader that closes the stream right after its last event did not cancel the call."""
    span = ChatSpan("tiny", max_tokens=9)
    span.finish(Finish("stop"))
    with pytest.raises(GeneratorExit), span:
        raise GeneratorExit
    assert names.CANCELLED not in (only(exporter).attributes or {})


def numbers(histogram: Histogram) -> dict[tuple[str, ...], int]:
    """Return how many values each series has."""
    return {key: sum(point.counts) for key, point in histogram.points().items()}


TINY = ("chat", "tokenwire.embedded", "tiny")


@pytest.mark.usefixtures("metrics")
def test_a_call_is_counted_with_its_chunks() -> None:
    """One first chunk, one value for each further one, and the whole call: also where nothing is traced."""
    with ChatSpan("tiny", max_tokens=9) as span:
        for _ in range(300):
            span.chunk()
        span.finish(Finish("stop"))
    assert numbers(instruments.GEN_AI_TIME_TO_FIRST_CHUNK) == {TINY: 1}
    assert numbers(instruments.GEN_AI_TIME_PER_OUTPUT_CHUNK) == {TINY: 299}
    assert numbers(instruments.GEN_AI_DURATION) == {(*TINY, ""): 1}


@pytest.mark.usefixtures("metrics")
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AgentError("UNAVAILABLE", "Away."), "UNAVAILABLE"),
        (KeyError("x"), "KeyError"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_a_call_that_fails_is_counted_with_its_error(error: BaseException, kind: str) -> None:
    """A call that was cancelled must not look like a fast one."""
    with pytest.raises(type(error)), ChatSpan("tiny", max_tokens=9):
        raise error
    assert numbers(instruments.GEN_AI_DURATION) == {(*TINY, kind): 1}
    assert numbers(instruments.GEN_AI_TIME_TO_FIRST_CHUNK) == {}
