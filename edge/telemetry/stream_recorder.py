"""What is told of one stream: to its trace, to the metrics, and to the log.

Every stream has a recorder, whether it is traced or not: that one stalls is known only when it does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from edge.telemetry.clocks import ClockBook, clock_attributes, own_clock
from edge.wire.stamps import StreamStamps
from tokenwire.latency import Hop
from tokenwire.latency.series import Stall, TokenSeries
from tokenwire.latency.stages import CORE_STAGES, EDGE_STAGES, HOPS
from tokenwire.logs import log_fields
from tokenwire.outage import Repeats
from tokenwire.telemetry.loop_lag import loop_lag
from tokenwire.telemetry.metrics import Exemplar
from tokenwire.telemetry.metrics.instruments import (
    CLOCK_ERROR,
    STALLS,
    STREAM_TTFT,
    STREAMS_ACTIVE,
    STREAMS_CLOSED,
    STREAMS_STALLED,
)
from tokenwire.telemetry.settings import TraceDetail
from tokenwire.telemetry.token_counts import count_waits
from tokenwire.telemetry.token_spans import TokenSpans, stall_cause

Outcome: TypeAlias = Literal["completed", "cancelled", "error", "client_disconnect", "evicted", "drained"]
"""How a stream ended."""

MILLI: Final = 1_000_000
NANO: Final = 1_000_000_000

COUNT_EVERY_NANO: Final = NANO
"""How often the metrics are given what a stream has written meanwhile, where it is not much."""

CORE_HOPS: Final = frozenset(HOPS[:CORE_STAGES])

logger = logging.getLogger(__name__)

_stall_lines: Final = Repeats()
"""Which of the lines about stalls are logged: a core that stands still has those of all its streams."""

_propagator: Final = TraceContextTextMapPropagator()


class TokenTelemetry(NamedTuple):
    """What an operator wants to know of tokens."""

    detail: TraceDetail
    stall_nano: int
    """The longest gap that is no stall."""
    clocks: ClockBook


class StreamRecorder:
    """Follows one stream from its request to its end.

    Args:
        telemetry: What is wanted.
        span: The stream's SERVER span.
        began_nano: When its request came, in nanoseconds of the monotonic clock.
        starts: Whether it starts its run; else it follows one.
        show: Whether events carry their stamps into their frames.
    """

    def __init__(
        self, telemetry: TokenTelemetry, span: Span, *, began_nano: int, starts: bool, show: bool = False
    ) -> None:
        clock = own_clock()
        self._span = span.get_span_context()
        self._began_nano = began_nano
        self._starts = starts
        self._count_at = began_nano + COUNT_EVERY_NANO
        self._stalled: set[Hop] = set()
        self._run_id: Callable[[], str] = str
        self._call: Callable[[], SpanContext] = lambda: trace.INVALID_SPAN_CONTEXT
        self._spans = TokenSpans(span, telemetry.detail, lambda nano: nano + clock.wall_offset_nano)
        self.series = TokenSeries(
            stages=EDGE_STAGES,
            stall_nano=telemetry.stall_nano,
            on_segment=self._spans.segment if self._spans.wanted else None,
            on_waits=count_waits,
        )
        self.stamps = StreamStamps(
            self.series, clock, began_nano=began_nano, hear=telemetry.clocks.received, show=show
        )

    def begin(self, run_id: Callable[[], str], call: Callable[[], SpanContext]) -> None:
        """Note that the stream is open.

        Args:
            run_id: Tells its run; empty while that is not known.
            call: Tells the span of its call to a core.
        """
        self._run_id = run_id
        self._call = call
        STREAMS_ACTIVE.add(1)

    def written(self, now: int) -> None:
        """Note that the kernel has taken what was sent.

        Args:
            now: In nanoseconds of the monotonic clock.
        """
        stall = self.series.written(now)
        if stall is not None:
            self._tell_stall(stall)
        if now >= self._count_at:
            self._count_at = now + COUNT_EVERY_NANO
            if self.stamps.is_elsewhere:
                self._spans.clock(clock_attributes(self.stamps.offset))
            self.series.count()

    def end(self, outcome: Outcome, now: int, waits_for: Hop) -> None:
        """Tell how the stream was.

        Args:
            outcome: How it ended.
            now: When, in nanoseconds of the monotonic clock.
            waits_for: The hop that the next token would have come by, if nothing waits to be written.
        """
        series = self.series
        hop: Hop = "write" if series.waiting else waits_for
        open_stall = series.open_stall(now, hop) if outcome != "completed" else None
        if open_stall is not None:
            self._tell_stall(open_stall)
        if self.stamps.is_elsewhere:
            self._spans.clock(clock_attributes(self.stamps.offset))
            if self.stamps.offset is not None:
                CLOCK_ERROR.observe(self.stamps.offset.error_nano / NANO)
        series.finish()
        first = series.first_token_nano
        ttft_nano = None if first is None else first - self._began_nano
        self._spans.finish(series, ttft_nano, failed=outcome == "error")
        if self._starts and ttft_nano is not None:
            STREAM_TTFT.observe(ttft_nano / NANO)
        STREAMS_ACTIVE.add(-1)
        STREAMS_CLOSED.add(1, outcome)
        for stalled in self._stalled:
            STREAMS_STALLED.add(1, stalled)
        self._log(outcome, ttft_nano)

    def _tell_stall(self, stall: Stall) -> None:
        """Count a stall, log it, and have a span of it."""
        cause = stall_cause(
            stall,
            core_lag_nano=self.stamps.core_lag_nano(stall.sequence),
            edge_lag_nano=loop_lag().lag_within(stall.end_nano - stall.gap_nano, stall.end_nano),
        )
        self._stalled.add(stall.hop)
        self._spans.stall(stall, self._owner_of(stall.hop), cause)
        context = self._span
        exemplar = None
        if context.is_valid:
            exemplar = Exemplar(
                trace.format_trace_id(context.trace_id),
                trace.format_span_id(context.span_id),
                stall.sequence,
                stall.own_nano / NANO,
                self.stamps.unix_nano(stall.end_nano),
            )
        STALLS.add(1, stall.hop, exemplar=exemplar)
        _stall_lines.log(
            logger,
            logging.WARNING,
            "stall: token %d, %s, %d ms%s",
            stall.sequence,
            stall.hop,
            stall.own_nano // MILLI,
            f" ({cause})" if cause else "",
            **log_fields(run_id=self._run_id(), span=context),
        )

    def _owner_of(self, hop: Hop) -> SpanContext:
        """Return the span of the one who owns a hop; an invalid one stands for the stream's."""
        if hop in CORE_HOPS:
            # A follow is a trace of its own: what it has seen is told there.
            parent = self.stamps.run_traceparent if self._starts else ""
            context = _propagator.extract({"traceparent": parent}, Context())
            return trace.get_current_span(context).get_span_context()
        return self._call() if hop == "link" else self._span

    def _log(self, outcome: Outcome, ttft_nano: int | None) -> None:
        """Log one line on the stream."""
        run_id = self._run_id()
        longest = self.series.longest
        told = {
            "outcome": outcome,
            "tokens": self.series.tokens,
            "ttft_ms": None if ttft_nano is None else ttft_nano // MILLI,
            "gap_max_ms": None if longest is None else longest.gap_nano // MILLI,
            "gap_max_hop": None if longest is None else longest.hop,
        }
        text = ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)
        fields = {**told, **log_fields(run_id=run_id, span=self._span)}
        logger.info("stream of run %s ended: %s", run_id or "(none)", text, extra=fields)
