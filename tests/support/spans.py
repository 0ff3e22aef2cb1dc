"""The spans that this process makes, collected in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

_exporter = InMemorySpanExporter()
_installed = False


class Spans:
    """What has ended so far."""

    def all(self) -> list[ReadableSpan]:
        """Return every span, in the order of their ends."""
        return list(_exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of a name."""
        return [span for span in self.all() if span.name == name]

    async def wait_for(self, *names: str) -> list[ReadableSpan]:
        """Return one span of each name, once they have all ended."""
        async with asyncio.timeout(10):
            while not all(self.named(name) for name in names):
                await asyncio.sleep(0.01)
        return [self.named(name)[0] for name in names]


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Collect spans. The provider is installed once: OpenTelemetry allows no second one in a process."""
    global _installed  # noqa: PLW0603
    if not _installed:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(_exporter))
        trace.set_tracer_provider(provider)
        _installed = True
    _exporter.clear()
    yield Spans()
    _exporter.clear()
