"""What is told of one stream: to its trace, to the metrics, and to the log.

Every stream has a recorder, whether it is traced or not: that one stalls is known only when it does.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, Literal, Protocol, TypeAlias

from opentelemetry import trace
from opentelemetry.trace import Span, SpanContext
from opentelemetry.util.types import AttributeValue

from tokenwire.latency import Hop
from tokenwire.latency.series import Stall, TokenSeries, Waits
from tokenwire.latency.stages import HOPS
from tokenwire.logs import log_fields
from tokenwire.rate import Rate
from tokenwire.telemetry.losses import count_lost
from tokenwire.telemetry.metrics import Exemplar
from tokenwire.telemetry.metrics.instruments import (
    STAGE_DURATION,
    STALLS,
    STREAM_TTFT,
    STREAMS_ACTIVE,
    STREAMS_CLOSED,
    STREAMS_STALLED,
    TOKEN_GAP,
    TOKENS,
)
from tokenwire.telemetry.settings import TelemetrySettings
from tokenwire.telemetry.token_spans import TokenSpans

Outcome: TypeAlias = Literal["completed", "cancelled", "error", "client_disconnect", "evicted", "drained"]
"""How a stream ended."""

MILLI: Final = 1_000_000
NANO: Final = 1_000_000_000

COUNT_EVERY_NANO: Final = 5 * NANO
"""How often the metrics are given what a stream has written meanwhile, where it is not much: more often than
they are read, but seldom enough that many tokens are counted together."""

logger = logging.getLogger(__name__)

STALL_LINES_PER_S: Final = 10
"""How many stalls a second are warned of; others are logged at level debug. A core that stands still has
those of all its streams."""

_stall_lines: Final = Rate(STALL_LINES_PER_S)


class StreamFacts(Protocol):
    """What a recorder asks of the stream that it is of."""

    @property
    def run_id(self) -> str:
        """The run; empty while that is not known."""

    def owner_of(self, hop: Hop) -> SpanContext:
        """Return the span below which a stall is told; an invalid one stands for the stream's own."""

    def cause_of(self, stall: Stall) -> str:
        """Return whose event loop is behind a stall: `core_loop`, `edge_loop`, or empty."""

    def clock_attributes(self) -> Mapping[str, AttributeValue]:
        """Return what spans say of how far two machines' clocks are apart; nothing on one machine."""


class _Ended:
    """The facts of a stream that has ended: what it was is told."""

    run_id = ""

    def owner_of(self, hop: Hop) -> SpanContext:
        del hop
        return trace.INVALID_SPAN_CONTEXT

    def cause_of(self, stall: Stall) -> str:
        del stall
        return ""

    def clock_attributes(self) -> Mapping[str, AttributeValue]:
        return {}


_ENDED: Final[StreamFacts] = _Ended()


class TokenRecorder:
    """Follows one stream from its request to its end.

    Args:
        settings: What is wanted.
        span: The span that the stream's tokens belong to.
        facts: The stream.
        began_nano: When its request came, in nanoseconds of the monotonic clock.
        wall_offset_nano: What has to be added to such a time to get the Unix time.
        starts: Whether the stream starts its run; else it follows one.
    """

    __slots__ = (
        "_began_nano",
        "_context",
        "_count_at",
        "_facts",
        "_is_broken",
        "_stalled",
        "_starts",
        "_wall_offset_nano",
        "log_fields",
        "series",
        "spans",
    )

    def __init__(  # noqa: PLR0913 # what a stream is
        self,
        settings: TelemetrySettings,
        span: Span,
        facts: StreamFacts,
        *,
        began_nano: int,
        wall_offset_nano: int,
        starts: bool,
    ) -> None:
        self._context = span.get_span_context()
        self._facts = facts
        self._began_nano = began_nano
        self._wall_offset_nano = wall_offset_nano
        self._starts = starts
        self._count_at = began_nano + COUNT_EVERY_NANO
        self._stalled: frozenset[Hop] = frozenset()
        self._is_broken = False
        self.spans = TokenSpans(span, settings.trace_detail, wall_offset_nano, facts.clock_attributes)
        """Writes the stream's spans."""
        self.log_fields: Mapping[str, str] = {}
        """What the lines about stalls hold besides: they may be written in another one's turn."""
        self.series = TokenSeries(
            stall_nano=settings.stall_nano,
            on_segment=self.spans.segment if self.spans.wanted else None,
            on_waits=count_waits,
        )
        """The stream's stamps."""

    def begin(self) -> None:
        """Note that the stream is open."""
        STREAMS_ACTIVE.add(1)

    def written_at_once(self, now: int) -> None:
        """Note that what was added to the series went through the last hop at once.

        Args:
            now: In nanoseconds of the monotonic clock.
        """
        try:
            stall = self.series.written_at_once(now)
            if stall is not None or now >= self._count_at:
                self._look(stall, now)
        except Exception as error:  # noqa: BLE001 # as `_broke` says
            self._broke(error)

    def written(self, now: int) -> None:
        """Note that the last hop is done with what was taken from the series.

        Args:
            now: In nanoseconds of the monotonic clock.
        """
        try:
            stall = self.series.written(now)
            if stall is not None or now >= self._count_at:
                self._look(stall, now)
        except Exception as error:  # noqa: BLE001 # as `_broke` says
            self._broke(error)

    def _look(self, stall: Stall | None, now: int) -> None:
        """Tell a stall, and count now and then."""
        if stall is not None:
            self._tell_stall(stall)
        if now >= self._count_at:
            self._count_at = now + COUNT_EVERY_NANO
            self.series.count()

    def end(self, outcome: Outcome, now: int, waits_for: Hop) -> None:
        """Tell how the stream was.

        Args:
            outcome: How it ended.
            now: When, in nanoseconds of the monotonic clock.
            waits_for: The hop that the next token would have come by.
        """
        STREAMS_ACTIVE.add(-1)
        STREAMS_CLOSED.add(1, outcome)
        try:
            self._end(outcome, now, waits_for)
        except Exception as error:  # noqa: BLE001 # as `_broke` says
            self._broke(error)
        self._facts = _ENDED  # a circle otherwise, which only the garbage collector finds
        self.spans.release()

    def _end(self, outcome: Outcome, now: int, waits_for: Hop) -> None:
        series = self.series
        open_stall = series.open_stall(now, waits_for) if outcome != "completed" else None
        if open_stall is not None:
            self._tell_stall(open_stall)
        series.finish()
        first = series.first_token_nano
        ttft_nano = None if first is None else first - self._began_nano
        self.spans.finish(series, ttft_nano, failed=outcome == "error")
        if self._starts and ttft_nano is not None:
            STREAM_TTFT.observe(ttft_nano / NANO)
        for hop in self._stalled:
            STREAMS_STALLED.add(1, hop)
        self._log(outcome, ttft_nano)

    def _broke(self, error: Exception) -> None:
        """Say once that this recorder has a fault: its stream goes on, only less is told of it."""
        self.series.drop()
        if self._is_broken:
            return
        self._is_broken = True
        count_lost("recorder_failed")
        text = "the tokens of run %s can't be recorded: this is a bug"
        logger.error(text, self._facts.run_id, exc_info=error)

    def _tell_stall(self, stall: Stall) -> None:
        """Count a stall, log it, and have a span of it."""
        cause = self._facts.cause_of(stall)
        self._stalled |= {stall.hop}
        self.spans.stall(stall, self._facts.owner_of(stall.hop), cause)
        unix_nano = stall.end_nano + self._wall_offset_nano
        tell_stall(
            stall,
            self._facts.run_id,
            self._context,
            unix_nano=unix_nano,
            cause=cause,
            fields=self.log_fields,
        )

    def _log(self, outcome: Outcome, ttft_nano: int | None) -> None:
        """Log one line on the stream."""
        run_id, longest = self._facts.run_id, self.series.longest
        told = {
            "outcome": outcome,
            "tokens": self.series.tokens,
            "ttft_ms": None if ttft_nano is None else ttft_nano // MILLI,
            "gap_max_ms": None if longest is None else longest.gap_nano // MILLI,
            "gap_max_hop": None if longest is None else longest.hop,
        }
        text = ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)
        fields = {**told, **log_fields(run_id=run_id, span=self._context)}
        logger.info("stream of run %s ended: %s", run_id or "(none)", text, extra=fields)


def tell_stall(  # noqa: PLR0913 # what a stall's line says
    stall: Stall,
    run_id: str,
    span: SpanContext,
    *,
    unix_nano: int,
    cause: str,
    fields: Mapping[str, str] | None = None,
) -> None:
    """Count a stall, with an exemplar that leads to its trace, and log it.

    Args:
        stall: The stall.
        run_id: Its run.
        span: The span of its stream; an invalid one where that is not traced.
        unix_nano: When it was over.
        cause: Whose event loop is behind it; empty where none is.
        fields: What the line holds besides, where that is not bound to the current context.
    """
    exemplar = None
    if span.is_valid:
        exemplar = Exemplar(
            trace.format_trace_id(span.trace_id),
            trace.format_span_id(span.span_id),
            stall.sequence,
            stall.own_nano / NANO,
            unix_nano,
        )
    STALLS.add(1, stall.hop, exemplar=exemplar)
    logger.log(
        logging.WARNING if _stall_lines.take() else logging.DEBUG,
        "stall: token %d of run %s, %s, %d ms%s%s",
        stall.sequence,
        run_id,
        stall.hop,
        stall.own_nano // MILLI,
        f" ({cause})" if cause else "",
        ", not over when the stream ended" if stall.open else "",
        extra={**(fields or {}), **log_fields(run_id=run_id, span=span)},
    )


def count_waits(waits: Waits) -> None:
    """Count how long some live tokens took.

    Args:
        waits: From a stream's series.
    """
    TOKEN_GAP.observe_many_nano(waits.gaps)
    for hop, nanos in zip(HOPS, waits.hops, strict=False):
        STAGE_DURATION.observe_many_nano(nanos, (hop,))
    TOKENS.add(len(waits.hops[-1]))
