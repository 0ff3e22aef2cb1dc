"""Finished spans made after the fact, and the bad streams that are kept though they were not sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from opentelemetry.trace import Span, SpanContext, SpanKind
from opentelemetry.util.types import AttributeValue

from tokenwire.rate import Rate
from tokenwire.telemetry.attributes import DISCARDED, SAMPLED
from tokenwire.telemetry.installed import installed
from tokenwire.telemetry.losses import count_lost

if TYPE_CHECKING:
    # Imported late otherwise: with tracing off the SDK is not loaded.
    from opentelemetry.sdk.trace import Event, ReadableSpan

KeepReason: TypeAlias = Literal["stall", "error"]

KEPT_PER_S: Final = 10
"""How many streams a second are kept at most: when all fail at once, ten of them tell why."""


_rate: Final = Rate(KEPT_PER_S)


def is_recorded(span: Span) -> bool:
    """Return whether a span takes attributes: it is sampled, or may be kept at its end."""
    return span.is_recording()


def is_sampled(span: Span) -> bool:
    """Return whether a span is exported at its end in any case."""
    return span.is_recording() and span.get_span_context().trace_flags.sampled


def discard(span: Span) -> None:
    """End a span that is not worth exporting, as it turned out.

    Args:
        span: It. Nothing may stand below it.
    """
    span.set_attribute(DISCARDED, True)
    span.end()


def make_child(  # noqa: PLR0913 # what a span is made of
    parent: SpanContext,
    name: str,
    start_ns: int,
    end_ns: int,
    attributes: Mapping[str, AttributeValue],
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    events: Sequence[Event] = (),
) -> ReadableSpan | None:
    """Return a finished span, where its parent is not sampled: pass it to `keep`, or drop it.

    Below a sampled parent the span is exported at once, and nothing is returned. This is a tenth of what a
    span from the tracer costs; the SDK's limits do not apply to it.

    Args:
        parent: The context of its parent. Of a stream that is not sampled: of its root.
        name: Its name.
        start_ns: When it began, in nanoseconds of the Unix time.
        end_ns: When it ended, likewise.
        attributes: What it says. Not copied.
        kind: Its kind.
        events: Its events, at most 128.
    """
    tracing = installed()
    if tracing is None or not parent.is_valid:
        return None
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415

    from tokenwire.telemetry.pipeline import sampled_context  # noqa: PLC0415

    span = ReadableSpan(
        name,
        sampled_context(parent.trace_id, tracing.new_span_id(), parent),
        parent,
        tracing.resource,
        dict(attributes),
        events,
        (),
        kind,
        start_time=start_ns,
        end_time=end_ns,
        instrumentation_scope=tracing.scope,
    )
    if not parent.trace_flags.sampled:
        return span
    tracing.pipeline.on_end(span)
    return None


def keep(root: Span, children: Sequence[ReadableSpan], reason: KeepReason) -> bool:
    """Export a stream that was not sampled, and return whether that is done.

    Its children are exported now, its root when it ends. At most 10 a second are kept; the others are counted
    as lost (`kept_rate`). A root that is sampled, or not recorded, is none of those.

    Args:
        root: The stream's root span, not yet ended.
        children: From `make_child`. They all become children of the root.
        reason: Why it is kept.
    """
    tracing = installed()
    context = root.get_span_context()
    if tracing is None or not tracing.keeps or not root.is_recording() or context.trace_flags.sampled:
        return False
    if not _rate.take():
        count_lost("kept_rate")
        return False
    from tokenwire.telemetry.pipeline import as_sampled, sampled_context  # noqa: PLC0415

    root.set_attribute(SAMPLED, reason)
    parent = sampled_context(context.trace_id, context.span_id, context)
    for child in children:
        tracing.pipeline.on_end(as_sampled(child, parent))
    return True
