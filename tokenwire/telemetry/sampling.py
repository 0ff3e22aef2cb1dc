"""Which spans are recorded: those that the operator's sampler chooses, and the roots of all streams.

What a stream was like is known only at its end. So the root of a stream that the sampler has not chosen is
recorded all the same; `tokenwire.telemetry.kept` exports it where the stream stalled or failed. Its context
says "not sampled", and so does what is passed on: nothing below it is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from tokenwire.telemetry.stream_root import is_stream_root

OFF: Final = frozenset({"always_off", "parentbased_always_off"})
"""Values of OTEL_TRACES_SAMPLER with which no stream is kept: the operator wants no traces of this process's
own choice."""


class StreamSampler(Sampler):
    """Samples what another sampler chooses, and has the roots of other streams recorded.

    Args:
        chosen: The operator's sampler.
        keeps: Whether such roots are recorded.
    """

    def __init__(self, chosen: Sampler, *, keeps: bool) -> None:
        self._chosen = chosen
        self.keeps = keeps

    def should_sample(  # noqa: PLR0913, PLR0917 # the SDK's interface
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return what becomes of a span; the arguments are the SDK's."""
        result = self._chosen.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )
        if self.keeps and result.decision is Decision.DROP and is_stream_root(parent_context):
            return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)
        return result

    def get_description(self) -> str:
        """Return the sampler's name."""
        return f"StreamSampler{{{self._chosen.get_description()}}}"
