"""The spans that this process makes, collected in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Tracer, TracerProvider

from tokenwire.telemetry.installed import install, installed
from tokenwire.telemetry.setup import install_tracing, make_tracing

_exporter = InMemorySpanExporter()
_installed = False


class _Switch(Sampler):
    """Samples everything while it is on: OpenTelemetry lets no provider be taken away again."""

    on = False

    def should_sample(self, *args: Any, **more: Any) -> SamplingResult:
        """Return what the sampler of the moment says."""
        return (ALWAYS_ON if self.on else ALWAYS_OFF).should_sample(*args, **more)

    def get_description(self) -> str:
        """Return the sampler's name."""
        return "switch"


_switch = _Switch()


class _Open(SpanProcessor):
    """Knows which recorded spans have begun and not ended."""

    def __init__(self) -> None:
        self.spans: dict[int, str] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Take note of a span."""
        del parent_context
        self.spans[span.get_span_context().span_id] = span.name

    def on_end(self, span: ReadableSpan) -> None:
        """Forget it."""
        assert span.context is not None
        self.spans.pop(span.context.span_id, None)


_open = _Open()


class Spans:
    """What has ended so far."""

    def open(self) -> list[str]:
        """Return the names of the spans that have begun and not ended."""
        return sorted(_open.spans.values())

    async def all_ended(self) -> None:
        """Return once no span is open any more."""
        try:
            async with asyncio.timeout(10):
                while _open.spans:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"spans that never ended: {self.open()}") from None

    def all(self) -> list[ReadableSpan]:
        """Return every span, in the order of their ends."""
        return list(_exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of a name."""
        return [span for span in self.all() if span.name == name]

    async def wait_for(self, *names: str) -> list[ReadableSpan]:
        """Return one span of each name, once they have all ended."""
        try:
            async with asyncio.timeout(10):
                while not all(self.named(name) for name in names):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"not among {sorted({span.name for span in self.all()})}: {names}") from None
        return [self.named(name)[0] for name in names]


def _install() -> None:
    """Install the provider, once: OpenTelemetry allows no second one in a process."""
    global _installed  # noqa: PLW0603
    if not _installed:
        tracing = make_tracing(
            [SimpleSpanProcessor(_exporter)], scope="tokenwire", sampler=ParentBased(_switch)
        )
        tracing.provider.add_span_processor(_open)
        install_tracing(tracing)
        _installed = True


def use_provider(provider: TracerProvider, patch: pytest.MonkeyPatch) -> None:
    """Have a provider make this process's spans for one test."""
    patch.setattr("tokenwire.telemetry.scope._tracer", provider.get_tracer("test"))


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Collect the spans of traces that are all sampled."""
    _install()
    _exporter.clear()
    _open.spans.clear()
    _switch.on = True
    yield Spans()
    _switch.on = False
    _exporter.clear()


@pytest.fixture
def unsampled_spans() -> Iterator[Spans]:
    """Collect the spans that are exported of traces that are not sampled: those that are kept."""
    _install()
    _exporter.clear()
    _open.spans.clear()
    yield Spans()
    _exporter.clear()


@contextmanager
def own_tracing(sampler: Sampler, *, keeps: bool = True) -> Iterator[tuple[Tracer, InMemorySpanExporter]]:
    """Have a tracing of its own as long as the block lasts; yield its tracer, and what it exports to."""
    exporter = InMemorySpanExporter()
    before = installed()
    tracing = make_tracing([SimpleSpanProcessor(exporter)], scope="tests", sampler=sampler, keeps=keeps)
    install(tracing)
    try:
        yield tracing.provider.get_tracer("tests"), exporter
    finally:
        install(before)
        tracing.provider.shutdown()
