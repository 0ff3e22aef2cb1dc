"""The spans of one stream's tokens: segments, stalls, and the summary on the span that they belong to."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import Span, SpanContext
from opentelemetry.util.types import AttributeValue

from tokenwire.latency.segments import Segment, deltas
from tokenwire.latency.series import Stall, TokenSeries
from tokenwire.telemetry import attributes
from tokenwire.telemetry.kept import KeepReason, is_recorded, is_sampled, keep, make_child
from tokenwire.telemetry.settings import TraceDetail

if TYPE_CHECKING:
    # Imported late otherwise: with tracing off the SDK is not loaded.
    from opentelemetry.sdk.trace import Event, ReadableSpan

TOKENS: Final = "tokens"

MAX_STALL_SPANS: Final = 32
"""How many stalls of a stream are spans: the longest. All are counted."""

MAX_HELD_SEGMENTS: Final = 64
"""How many segments of a stream that is not sampled are held until its end, the newest: 8,192 rows."""

MILLI: Final = 1_000_000


class TokenSpans:
    """Writes the spans of one stream.

    Below a sampled span, segments are exported as they are complete. A stream that the sampler has not chosen
    keeps its rows, and is exported at its end where it has stalled or failed.

    Args:
        owner: The span that they belong to: the stream's, or the call's.
        detail: How much is told.
        wall_offset_nano: What has to be added to a time of the monotonic clock to get the Unix time.
        clock: Tells what segments and the summary say of how far two machines' clocks are apart.
    """

    __slots__ = (
        "_clock",
        "_context",
        "_detail",
        "_dropped",
        "_held",
        "_is_sampled",
        "_owner",
        "_stalls",
        "_wall_offset_nano",
        "wanted",
    )

    def __init__(
        self,
        owner: Span,
        detail: TraceDetail,
        wall_offset_nano: int,
        clock: Callable[[], Mapping[str, AttributeValue]] = dict,
    ) -> None:
        self._owner = owner
        self._context = owner.get_span_context()
        self._detail = detail
        self._wall_offset_nano = wall_offset_nano
        self._is_sampled = is_sampled(owner)
        self._held: list[Segment] = []
        self._stalls: list[tuple[int, int, Stall, SpanContext, str]] = []
        self._dropped = 0
        self.wanted = detail != "off" and is_recorded(owner)
        """Whether anybody wants them."""
        self._clock = clock

    def segment(self, segment: Segment) -> None:
        """Take a segment of the stream."""
        if self._is_sampled:
            self._made(segment)
            return
        self._held.append(segment.packed())
        if len(self._held) > MAX_HELD_SEGMENTS:
            self._dropped += self._held.pop(0).rows

    def stall(self, stall: Stall, parent: SpanContext, cause: str = "") -> None:
        """Take a stall.

        Args:
            stall: The stall.
            parent: The span of the hop's owner; an invalid one stands for the stream's.
            cause: `core_loop`, `edge_loop` or empty.
        """
        if not self.wanted:
            return
        if not (self._is_sampled and parent.is_valid):
            parent = self._context
        # The sequence keeps equal ones apart: a stall itself can't be compared.
        entry = (stall.own_nano, -stall.sequence, stall, parent, cause)
        if len(self._stalls) < MAX_STALL_SPANS:
            heapq.heappush(self._stalls, entry)
        else:
            heapq.heappushpop(self._stalls, entry)

    def finish(self, series: TokenSeries, ttft_nano: int | None, *, failed: bool) -> None:
        """Write what is left: the stalls, and the summary on the owner, which has not ended yet.

        Args:
            series: The stream's, finished.
            ttft_nano: How long the first token took; None where none came.
            failed: Whether the stream ended in an error.
        """
        is_kept = not self._is_sampled and (failed or series.stalls > 0)
        if not self.wanted or not (self._is_sampled or is_kept):
            return  # Of nearly all streams that are not sampled: nothing is made of their rows.
        children = [self._made(segment) for segment in self._held]
        for _, _, stall, parent, cause in sorted(self._stalls, key=lambda entry: entry[2].begin_nano):
            children.append(self._made_stall(stall, parent, cause))
        self._summarise(series, ttft_nano)
        if is_kept:
            reason: KeepReason = "error" if failed else "stall"
            keep(self._owner, [child for child in children if child is not None], reason)

    def release(self) -> None:
        """Let go of who knows the clocks: nothing more is written."""
        self._clock = dict

    def _unix_nano(self, nano: int) -> int:
        return nano + self._wall_offset_nano

    def _made(self, segment: Segment) -> ReadableSpan | None:
        """Return a segment's span, or have it exported where its owner is sampled."""
        origin = segment.origin(self._wall_offset_nano)
        strings = segment.strings(origin)
        told: dict[str, AttributeValue] = {
            attributes.TOKENS_FIRST: segment.first,
            attributes.TOKENS_COUNT: segment.rows,
            attributes.TOKENS_T0: self._unix_nano(origin),
            **{attributes.TOKENS_STAGE.format(stage=stage): text for stage, text in strings.items()},
            **self._clock(),
        }
        if segment.replayed:
            told[attributes.TOKENS_REPLAYED] = True
        begin, end = self._unix_nano(segment.begin_nano), self._unix_nano(segment.end_nano)
        events = self._events(segment) if self._detail == "events" else ()
        return make_child(self._context, TOKENS, begin, max(begin, end), told, events=events)

    def _events(self, segment: Segment) -> Sequence[Event]:
        """Return a span event for each row, at the time when it was written."""
        from opentelemetry.sdk.trace import Event  # noqa: PLC0415

        rows = zip(*(segment.columns[-len(segment.stages) :]), strict=True)
        origin = segment.origin(self._wall_offset_nano)
        return [
            Event(
                "token",
                {
                    "tokenwire.sequence": segment.first + i,
                    **{
                        attributes.TOKENS_STAGE.format(stage=stage): int(deltas([stamp], origin))
                        for stage, stamp in zip(segment.stages, row, strict=True)
                    },
                },
                self._unix_nano(row[-1]),
            )
            for i, row in enumerate(rows)
        ]

    def _made_stall(self, stall: Stall, parent: SpanContext, cause: str) -> ReadableSpan | None:
        """Return a stall's span, or have it exported where its parent is sampled."""
        begin, end = self._unix_nano(stall.begin_nano), self._unix_nano(stall.end_nano)
        return make_child(parent, stall_name(stall), begin, max(begin, end), stall_attributes(stall, cause))

    def _summarise(self, series: TokenSeries, ttft_nano: int | None) -> None:
        told: dict[str, AttributeValue] = {
            attributes.STREAM_TOKENS: series.tokens,
            attributes.STREAM_DROPPED: self._dropped,
            attributes.STREAM_STALLS: series.stalls,
            **self._clock(),
        }
        if ttft_nano is not None:
            told[attributes.STREAM_TTFT_MS] = round(ttft_nano / MILLI, 3)
        if series.longest is not None:
            told[attributes.STREAM_GAP_P50_MS] = round(series.gaps.at(0.5) / MILLI, 3)
            told[attributes.STREAM_GAP_P99_MS] = round(series.gaps.at(0.99) / MILLI, 3)
            told[attributes.STREAM_GAP_MAX_MS] = round(series.longest.gap_nano / MILLI, 3)
            told[attributes.STREAM_GAP_MAX_SEQUENCE] = series.longest.sequence
            told[attributes.STREAM_GAP_MAX_HOP] = series.longest.hop
        self._owner.set_attributes(told)


def stall_name(stall: Stall) -> str:
    """Return the name of a stall's span."""
    return f"stall {stall.hop}"


def stall_attributes(stall: Stall, cause: str) -> dict[str, AttributeValue]:
    """Return what a stall's span says.

    Args:
        stall: The stall.
        cause: From `stall_cause`.
    """
    told: dict[str, AttributeValue] = {
        attributes.STALL_HOP: stall.hop,
        attributes.STALL_SEQUENCE: stall.sequence,
        attributes.STALL_MS: round(stall.own_nano / MILLI, 3),
        attributes.STALL_BEHIND: stall.behind,
    }
    if stall.open:
        told[attributes.STALL_OPEN] = True
    if cause:
        told[attributes.STALL_CAUSE] = cause
    return told


def stall_cause(stall: Stall, *, core_lag_nano: int = 0, edge_lag_nano: int = 0) -> str:
    """Return whose event loop is behind a stall: it stood still for at least half of the gap; empty for none.

    Args:
        stall: The stall.
        core_lag_nano: For how long the core's stood still within the gap.
        edge_lag_nano: For how long the edge's did.
    """
    if 2 * max(core_lag_nano, edge_lag_nano) < stall.gap_nano:
        return ""
    return "core_loop" if core_lag_nano >= edge_lag_nano else "edge_loop"
