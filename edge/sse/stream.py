"""One stream, as its client sees it: what a run tells, turned into what waits to be written.

Sans-I/O: the half of `edge.upstream.RunSink` that needs no client. Who feeds it has seen to the order.
"""

from __future__ import annotations

from typing import Final

from edge.errors import EdgeError
from edge.sse.dialects import DeltaType, Dialect
from edge.sse.outbox import Outbox
from edge.sse.stamps import StreamStamps
from tokenwire import events
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.latency.series import DELTA
from tokenwire.translate import translate, translate_control
from tokenwire.v1 import event_pb2, stream_pb2

_DELTAS: Final[dict[str | None, DeltaType]] = {
    "text_delta": events.TextDelta,
    "reasoning_delta": events.ReasoningDelta,
}
"""The payloads of which nearly all events are."""

TENTHS_PER_S: Final = 10_000
NANO_PER_TENTH: Final = 100_000
MAX_TENTHS: Final = 2**53
"""Times up to here are written alike as two integers and as a float; nobody's clock goes further."""


TRIMMED: Final = "The answer is too long to be shown from its beginning."
"""What a client is told that can't go on behind a gap: the log has dropped the first events."""


class StreamState:
    """What one client is told, and what waits for it.

    Args:
        dialect: Writes the frames.
        budget_bytes: How much may wait (in encoded bytes) before it is `full`.
        merge: Whether neighbouring deltas that wait together become one frame.
        live: Whether the client reads the run from its start: then there is nothing to catch up with.
        stamps: Reads the events' stamps; None where they are not wanted.
    """

    __slots__ = (
        "_add_row",
        "_caught_up",
        "_dialect",
        "_items",
        "_outbox",
        "_stamps",
        "resyncs",
        "run_id",
        "terminal",
        "unknown",
    )

    def __init__(
        self,
        dialect: Dialect,
        *,
        budget_bytes: int,
        merge: bool = True,
        live: bool = False,
        stamps: StreamStamps | None = None,
    ) -> None:
        self._dialect = dialect
        self._outbox = Outbox(budget_bytes, merge=merge)
        self._items = self._outbox.items
        self._stamps = stamps
        self._add_row = stamps.series.add if stamps is not None else None
        self._caught_up = live
        self.run_id = ""
        """The run's id; empty until `begin`."""
        self.terminal: events.Done | events.Error | None = None
        """The terminal event, once it came or was made by `fail`."""
        self.resyncs = 0
        """How often the client was told to begin anew."""
        self.unknown = 0
        """Events that were passed over since their payload is unknown here."""

    @property
    def waiting(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._items)

    @property
    def full(self) -> bool:
        """Whether more waits than the budget allows: nothing more is to come until `take`."""
        outbox = self._outbox
        return outbox.size_bytes >= outbox.budget_bytes

    def begin(self, run_id: str) -> None:
        """Learn the run's id, before any event of it. A repetition changes nothing.

        Args:
            run_id: The run's id.
        """
        if not self.run_id:
            self.run_id = run_id
            self._dialect.begin(run_id)

    def arrived(self, clock: SenderClock, recv_nano: int, size_bytes: int) -> None:
        """Learn that a message has come, whose events or control follow.

        Args:
            clock: What it says of its sender's clock.
            recv_nano: When it came, in nanoseconds of the monotonic clock.
            size_bytes: How much of it, encoded, is this run's.
        """
        self._outbox.size_bytes += size_bytes
        stamps = self._stamps
        if stamps is not None:
            if clock.id == stamps.own_id and not clock.loop_lag_nano:  # nearly always
                stamps.send_nano = clock.send_nano
                stamps.recv_nano = recv_nano
            else:
                stamps.response(clock, recv_nano)

    def event(self, epoch: int, sequence: int, event: event_pb2.Event) -> None:
        """Take in the next event. Nothing of its message is kept. Behind the terminal event none counts.

        Args:
            epoch: Its epoch.
            sequence: Its sequence.
            event: The event.
        """
        if self.terminal is not None:
            return
        payload = event.WhichOneof("payload")
        kind = _DELTAS.get(payload)
        stamps = self._stamps
        if kind is None or (stamps is not None and stamps.show):
            self._other_event(epoch, sequence, event)
            return
        delta = event.text_delta if kind is events.TextDelta else event.reasoning_delta
        created = event.create_time
        tenths = created.seconds * TENTHS_PER_S + created.nanos // NANO_PER_TENTH
        if not 0 <= tenths < MAX_TENTHS:
            self._other_event(epoch, sequence, event)
            return
        if stamps is not None:
            timing = event.timing
            if stamps.is_plain and timing.clock_tag == stamps.own_tag:  # nearly always
                self._add_row(  # type: ignore[misc] # set with the stamps
                    (
                        sequence,
                        DELTA,
                        timing.model_nano,
                        timing.logged_nano,
                        stamps.send_nano,
                        stamps.recv_nano,
                    )
                )
            else:
                stamps.event(event, sequence, DELTA, self._caught_up)
        self._items.append((epoch, sequence, tenths, kind, delta.content, delta.token_count or 1))

    def _other_event(self, epoch: int, sequence: int, event: event_pb2.Event) -> None:
        """Take in an event that is no piece of text, or one whose frame shows its stamps."""
        translated = translate(event)
        if self._stamps is not None:
            self._stamps.told(event, sequence, translated, self._caught_up)
        if translated is None:
            self.unknown += 1
            return
        self._items.append((epoch, sequence, translated))
        if isinstance(translated, (events.Done, events.Error)):
            self.terminal = translated

    def control(self, control: stream_pb2.Control) -> None:
        """Take in a control. One that is unknown here, or not for clients, is passed over.

        Args:
            control: The control.
        """
        translated = translate_control(control, self.run_id)
        if translated is None or self.terminal is not None:
            return
        if isinstance(translated, events.CaughtUp):
            if self._caught_up:
                return  # The stream went on at another core: the client never fell behind.
            self._caught_up = True
        elif isinstance(translated, events.Resync):
            self.resyncs += 1
            if not self._dialect.traits.has_cursors:
                self.fail(EdgeError("DATA_LOSS", TRIMMED), timestamp=0.0)
                return
        self._items.append(translated)

    def fail(self, error: EdgeError, *, timestamp: float, trace_id: str = "") -> None:
        """End the stream with an error of the edge's own: its frame has no id. Too late after the end.

        Args:
            error: What went wrong.
            timestamp: Now, in Unix milliseconds.
            trace_id: The trace that holds what really happened; empty when not traced.
        """
        if self.terminal is None:
            self.terminal = events.Error(
                timestamp=timestamp,
                code=error.code,
                message=error.message,
                retryable=error.retryable,
                details=error.details,
                trace_id=trace_id,
            )
            self._items.append((0, 0, self.terminal))

    def reconnect(self, retry_ms: int) -> None:
        """Tell the client that this edge is going down. Needless after the end.

        Args:
            retry_ms: How long the client is to wait before it follows again.
        """
        if self.terminal is None:
            self._items.append(events.Reconnect(retry_ms=retry_ms))

    def take(self, out: bytearray) -> None:
        """Append the frames of all that waits, and behind the terminal one what ends the stream.

        Args:
            out: Appended to.
        """
        if self._stamps is not None:
            self._stamps.series.take()
        self._outbox.take(out, self._dialect)
        if self.terminal is not None:
            self._dialect.write_end(out)
