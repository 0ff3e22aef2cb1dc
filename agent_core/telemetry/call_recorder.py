"""The recorder of one stream to a direct caller: the core owns the stamps that no edge adds to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry.trace import INVALID_SPAN_CONTEXT, Span, SpanContext
from opentelemetry.util.types import AttributeValue

from tokenwire.events import DELTAS
from tokenwire.latency import Hop
from tokenwire.latency.core_stamps import core_stamps
from tokenwire.latency.series import BREAK, DELTA, OTHER, REPLAYED, REPLAYED_DELTA, Stall
from tokenwire.telemetry import monotonic_nano
from tokenwire.telemetry.clock import clock_tag
from tokenwire.telemetry.loop_lag import loop_lag
from tokenwire.telemetry.settings import TelemetrySettings
from tokenwire.telemetry.token_recorder import Outcome, TokenRecorder
from tokenwire.telemetry.token_spans import stall_cause
from tokenwire.v1.event_pb2 import FINISH_REASON_CANCELLED, Event

_KIND: Final[dict[str | None, int]] = {
    **dict.fromkeys(DELTAS, DELTA),
    "tool_start": BREAK,
    "tool_result": BREAK,
    "input_requested": BREAK,
    "input_received": BREAK,
}


class CallRecorder:
    """Follows one stream from its call to its end.

    Args:
        settings: What is wanted.
        span: The call's span.
        run_id: The run.
        run_span: Tells the run's span, where the run is this core's.
        starts: Whether the call starts the run; else it follows one.
        began_nano: When the call came, in nanoseconds of the monotonic clock.
    """

    def __init__(  # noqa: PLR0913 # what a stream is
        self,
        settings: TelemetrySettings,
        span: Span,
        run_id: str,
        *,
        run_span: Callable[[], SpanContext],
        starts: bool,
        began_nano: int,
    ) -> None:
        self.run_id = run_id
        self._run_span = run_span
        self._starts = self._is_live = starts
        self._clock_tag = clock_tag()
        self._began_nano = began_nano
        self._wall_offset_nano = time.time_ns() - monotonic_nano()
        self._last = Event()
        self._tokens = TokenRecorder(
            settings,
            span,
            self,
            began_nano=began_nano,
            wall_offset_nano=self._wall_offset_nano,
            starts=starts,
        )
        self._tokens.begin()

    def add(self, events: Sequence[bytes]) -> None:
        """Take in whole encoded Events that are about to be written."""
        for encoded in events:
            event = Event.FromString(encoded)
            own = event.timing.clock_tag == self._clock_tag
            stamps = core_stamps(event, clock_tag=self._clock_tag, wall_offset_nano=self._wall_offset_nano)
            kind = _KIND.get(event.WhichOneof("payload"), OTHER)
            # A request that is repeated gets the run that it has started before.
            if not self._is_live or (own and stamps[1] < self._began_nano):
                kind = REPLAYED_DELTA if kind == DELTA else REPLAYED
            self._tokens.series.add((event.sequence, kind, *stamps))
            self._last = event
        self._tokens.series.take()

    def caught_up(self) -> None:
        """Note that all that was in the log when the follow began was added."""
        self._is_live = True

    def written(self) -> None:
        """Note that gRPC has taken what was added."""
        self._tokens.written(monotonic_nano())

    def end(self, *, left: bool) -> None:
        """Tell how the stream was.

        Args:
            left: Whether the caller ended it.
        """
        self._tokens.end(self._outcome(left=left), monotonic_nano(), "model")

    def owner_of(self, _: Hop) -> SpanContext:
        """Return the span of the run, where the call has started it; else the call's stands for it."""
        return self._run_span() if self._starts else INVALID_SPAN_CONTEXT

    def cause_of(self, stall: Stall) -> str:
        """Return `core_loop` where this process's event loop is behind a stall."""
        lag_nano = loop_lag().lag_within(stall.end_nano - stall.gap_nano, stall.end_nano)
        return stall_cause(stall, core_lag_nano=lag_nano)

    def clock_attributes(self) -> Mapping[str, AttributeValue]:
        """Return nothing: all stamps are of one machine."""
        return {}

    def _outcome(self, *, left: bool) -> Outcome:
        match self._last.WhichOneof("payload"):
            case "done":
                cancelled = self._last.done.finish_reason == FINISH_REASON_CANCELLED
                return "cancelled" if cancelled else "completed"
            case "error":
                return "error"
            case _:
                return "client_disconnect" if left else "error"
