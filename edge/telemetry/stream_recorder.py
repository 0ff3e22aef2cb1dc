"""The recorder of one SSE stream: what the edge adds to its tokens' stamps, and where its stalls are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from opentelemetry import trace
from opentelemetry.trace import Span, SpanContext
from opentelemetry.util.types import AttributeValue

from edge.sse.stamps import StreamStamps
from edge.telemetry.browser_timing import WriteTimes
from edge.telemetry.clocks import clock_attributes, own_clock
from tokenwire.events import Error
from tokenwire.latency import Hop
from tokenwire.latency.clock_bounds import ClockBook
from tokenwire.latency.series import Stall
from tokenwire.latency.stages import CORE_STAGES, HOPS
from tokenwire.reasons import Reason
from tokenwire.telemetry.loop_lag import loop_lag
from tokenwire.telemetry.metrics.instruments import CLOCK_ERROR
from tokenwire.telemetry.settings import TelemetrySettings
from tokenwire.telemetry.token_recorder import NANO, Outcome, TokenRecorder
from tokenwire.telemetry.token_spans import stall_cause
from tokenwire.telemetry.traceparent import parse_traceparent

__all__ = ["Outcome", "StreamRecorder", "TokenTelemetry"]

CORE_HOPS: Final = frozenset(HOPS[:CORE_STAGES])


class TokenTelemetry(NamedTuple):
    """What all streams of an edge share."""

    settings: TelemetrySettings
    clocks: ClockBook


class RecordedStream(Protocol):
    """The stream that is recorded."""

    @property
    def run_id(self) -> str:
        """Its run; empty while that is not known."""

    @property
    def span_context(self) -> SpanContext:
        """Names the span of its call to a core; invalid where there is none."""


class StreamRecorder:
    """Follows one stream from its request to its end.

    Args:
        telemetry: What all streams share.
        span: The stream's SERVER span.
        began_nano: When its request came, in nanoseconds of the monotonic clock.
        starts: Whether it starts its run; else it follows one.
        show: Whether events carry their stamps into their frames.
    """

    __slots__ = (
        "_span",
        "_starts",
        "_stream",
        "_tokens",
        "_write_times",
        "stamps",
        "taken",
        "timing_token",
        "written",
        "written_at_once",
    )

    def __init__(
        self, telemetry: TokenTelemetry, span: Span, *, began_nano: int, starts: bool, show: bool = False
    ) -> None:
        clock = own_clock()
        self._span = span.get_span_context()
        self._starts = starts
        self._stream: RecordedStream | None = None
        self._write_times: WriteTimes | None = None
        self.timing_token = ""
        """With what the page may report when it received the stream's events; empty where it need not."""
        self._tokens = TokenRecorder(
            telemetry.settings,
            span,
            self,
            began_nano=began_nano,
            wall_offset_nano=clock.wall_offset_nano,
            starts=starts,
        )
        self.stamps = StreamStamps(
            self._tokens.series, clock, began_nano=began_nano, hear=telemetry.clocks.received, show=show
        )
        self.taken = self._tokens.series.take
        """Called when all that was told so far is handed to the kernel, but not yet taken."""
        self.written = self._tokens.written
        """Called with the time when the kernel has taken what was handed to it, in nanoseconds."""
        self.written_at_once = self._tokens.written_at_once
        """The same of all that was told so far: the kernel has taken it at once."""

    @property
    def run_id(self) -> str:
        """The run; empty while that is not known."""
        return self._stream.run_id if self._stream is not None else ""

    def begin(self, stream: RecordedStream, log_fields: Mapping[str, str]) -> None:
        """Note that the stream is open.

        Args:
            stream: The stream.
            log_fields: What the lines about it hold besides.
        """
        self._stream = stream
        self._tokens.log_fields = log_fields
        self._tokens.begin()

    def end(self, outcome: Outcome, now: int, waits_for: Hop) -> None:
        """Tell how the stream was.

        Args:
            outcome: How it ended.
            now: When, in nanoseconds of the monotonic clock.
            waits_for: The hop that the next token would have come by, if nothing waits to be written.
        """
        if self.stamps.offset is not None:
            CLOCK_ERROR.observe(self.stamps.offset.error_nano / NANO)
        self._tokens.end(outcome, now, self._waited_for(waits_for))
        if self._write_times is not None:
            self._write_times.complete.set()
        self._stream = None  # a circle otherwise

    def _waited_for(self, hop: Hop) -> Hop:
        """Return the hop that the next token would have come by.

        Args:
            hop: As far as the call to the core tells: it ends with the run, too.
        """
        terminal = self.stamps.terminal
        if self._tokens.series.waiting:
            return "write"
        if terminal is None:
            return hop
        lost = isinstance(terminal, Error) and terminal.details.get("reason") == Reason.PRODUCER_LOST
        return "link" if lost else "model"

    def write_times(self) -> WriteTimes:
        """Return when events are written, from now on, by their sequences."""
        times = self._write_times = WriteTimes(self.stamps.clock.wall_offset_nano)
        self._tokens.series.also_to(times.segment)
        return times

    def owner_of(self, hop: Hop) -> SpanContext:
        """Return the span below which a stall in a hop is told; an invalid one stands for the stream's own.

        A follow is a trace of its own: what it has seen of the core's hops is told there, too.
        """
        if hop not in CORE_HOPS:
            return self._link_span() if hop == "link" else self._span
        return parse_traceparent(self.stamps.run_traceparent if self._starts else "")

    def _link_span(self) -> SpanContext:
        return self._stream.span_context if self._stream is not None else trace.INVALID_SPAN_CONTEXT

    def clock_attributes(self) -> Mapping[str, AttributeValue]:
        """Return what spans say of how far the core's clock and ours are apart; nothing on one machine."""
        return clock_attributes(self.stamps.offset) if self.stamps.is_elsewhere else {}

    def cause_of(self, stall: Stall) -> str:
        """Return whose event loop is behind a stall: `core_loop`, `edge_loop`, or empty."""
        return stall_cause(
            stall,
            core_lag_nano=self.stamps.core_lag_nano(stall.sequence),
            edge_lag_nano=loop_lag().lag_within(stall.end_nano - stall.gap_nano, stall.end_nano),
        )
