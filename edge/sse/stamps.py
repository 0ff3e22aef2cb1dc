"""The stamps of a stream's events, as the edge sees them: those of the core, by the edge's own clock.

On one machine all processes share the monotonic clock, and stamps are taken over as they are. Those of
another machine are placed by its wall clock: what the two wall clocks differ by is part of the hop `link`
then, and told beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from tokenwire import events
from tokenwire.latency.clock_bounds import Offset
from tokenwire.latency.core_stamps import placed_stamps
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.latency.series import BREAK, DELTA, OTHER, REPLAYED, REPLAYED_DELTA, TokenSeries
from tokenwire.v1 import event_pb2

MICRO: Final = 1_000
MAX_LAGS: Final = 64
"""How many of the core's standstills are remembered, the last ones."""

_KIND: Final[dict[type[events.StreamEvent | None], int]] = {
    **dict.fromkeys(events.DELTAS.values(), DELTA),
    events.ToolStart: BREAK,
    events.ToolResult: BREAK,
    events.InputRequested: BREAK,
    events.InputReceived: BREAK,
}


Row: TypeAlias = tuple[int, int, int, int, int, int]
"""Sequence, kind, and the stamps `model`, `logged`, `send`, `recv`: nanoseconds of our monotonic clock."""


class EdgeClock(NamedTuple):
    """The clock of this process."""

    id: int
    """Names the monotonic clock, as the contract's `Clock.id` does."""
    tag: int
    """Its low 32 bits, as in `EventTiming.clock_tag`."""
    wall_offset_nano: int
    """What has to be added to a monotonic time to get the Unix time, in nanoseconds."""


class StreamStamps:
    """Reads the stamps of one stream's messages into a series.

    Args:
        series: Takes the events.
        clock: This process's.
        began_nano: When the stream's request came, in nanoseconds of the monotonic clock.
        hear: Told of each message of a core on another machine: the id of its clock, when it was sent by that
            one's wall clock, and when it came by ours, in nanoseconds of the Unix time. Returns how far ours
            is ahead, as far as is known.
        show: Whether events carry their stamps into their frames.
    """

    __slots__ = (
        "_began_nano",
        "_hear",
        "_lag_nano",
        "_lags",
        "_send_shift",
        "clock",
        "is_elsewhere",
        "is_plain",
        "offset",
        "own_id",
        "own_tag",
        "recv_nano",
        "run_traceparent",
        "send_nano",
        "series",
        "show",
        "terminal",
    )

    def __init__(
        self,
        series: TokenSeries,
        clock: EdgeClock,
        *,
        began_nano: int,
        hear: Callable[[int, int, int], Offset | None] = lambda _id, _sent, _received: None,
        show: bool = False,
    ) -> None:
        self.series = series
        """Takes the events."""
        self.clock = clock
        """This process's."""
        self.own_id, self.own_tag = clock.id, clock.tag
        """Names of this process's clock, in messages and in events."""
        self._began_nano = began_nano
        self._hear = hear
        self.show = show
        """Whether events carry their stamps into their frames."""
        self._send_shift = 0
        self.send_nano = 0
        """When the message was sent that is read, by our monotonic clock."""
        self.recv_nano = 0
        """When it came."""
        self.is_plain = False
        """Whether the next event needs no look beyond its stamps, if it is text and they are of our clock:
        then its row may be added without `event`."""
        self._lag_nano = 0
        self._lags: dict[int, int] | None = None
        self.run_traceparent = ""
        """Of the run's span, once `RunStarted` was seen; empty where the run is not traced."""
        self.terminal: events.Done | events.Error | None = None
        """How the run has ended, once it has told so."""
        self.offset: Offset | None = None
        """How far our wall clock is ahead of the core's, where that is on another machine."""
        self.is_elsewhere = False
        """Whether stamps of another machine's clock came."""

    def response(self, clock: SenderClock, recv_nano: int) -> None:
        """Take in when a message was sent and came.

        Args:
            clock: What it says of its sender's clock.
            recv_nano: When it came, in nanoseconds of the monotonic clock.
        """
        self.recv_nano = recv_nano
        if clock.id == self.own_id:
            self.send_nano = clock.send_nano
        elif clock.id:
            self._from_elsewhere(clock)
        if lag_nano := clock.loop_lag_nano:
            self._lag_nano += lag_nano  # of a message without events, it is the next event's
            self.is_plain = False

    def event(
        self,
        event: event_pb2.Event,
        sequence: int,
        kind: int,
        live: bool,  # noqa: FBT001 # by position, as `told`
    ) -> Row:
        """Take in an event of the message; return its row.

        Args:
            event: The event.
            sequence: Its own.
            kind: What it is, were it live: `DELTA`, `BREAK` or `OTHER`.
            live: Whether it was not yet in the log when the stream's follow began, as far as the core has
                said so.
        """
        timing = event.timing
        if timing.clock_tag == self.own_tag:
            model, logged = timing.model_nano, timing.logged_nano
            latest = logged
        else:
            model, logged = placed_stamps(event, self.clock.wall_offset_nano)
            latest = self._latest(logged)
        # A request that is repeated gets the run that it has started before.
        if not live or 0 < latest < self._began_nano:
            kind = REPLAYED_DELTA if kind == DELTA else REPLAYED
        row = (sequence, kind, model, logged, self.send_nano, self.recv_nano)
        self.series.add(row)
        if self._lag_nano:
            self._note_lag(sequence)
        # Stamps grow: once an event was live, so are all behind it.
        self.is_plain = live and latest >= self._began_nano
        return row

    def told(
        self,
        event: event_pb2.Event,
        sequence: int,
        told: events.StreamEvent | None,
        live: bool,  # noqa: FBT001 # by position, as `event`
    ) -> None:
        """Take in an event of the message that is more than a piece of text, or is to carry its stamps.

        Args:
            event: The event.
            sequence: Its own.
            told: What its reader is told; None for one that is passed over.
            live: As for `event`.
        """
        _, _, *stamps = self.event(event, sequence, _KIND.get(type(told), OTHER), live)
        if isinstance(told, events.RunStarted):
            self.run_traceparent = told.traceparent
        elif isinstance(told, (events.Done, events.Error)):
            self.terminal = told
        if self.show and told is not None:
            told.timing = self._timing(stamps)

    def core_lag_nano(self, sequence: int) -> int:
        """Return for how long the core's event loop stood still before it sent an event, as it said."""
        return self._lags.get(sequence, 0) if self._lags else 0

    def unix_nano(self, nano: int) -> int:
        """Return a time of the monotonic clock as Unix time, in nanoseconds."""
        return nano + self.clock.wall_offset_nano

    def _latest(self, nano: int) -> int:
        """Return when it was by our clock at another machine's time, at the latest; 0 for unknown."""
        return nano + self.offset.nano + self.offset.error_nano if nano and self.offset is not None else 0

    def _from_elsewhere(self, clock: SenderClock) -> None:
        """Place the time at which a message of another machine was sent."""
        if clock.send_unix_nano:
            self._send_shift = clock.send_unix_nano - clock.send_nano - self.clock.wall_offset_nano
        self.send_nano = clock.send_nano + self._send_shift
        self.is_elsewhere = True
        self.offset = self._hear(clock.id, self.unix_nano(self.send_nano), self.unix_nano(self.recv_nano))
        self.series.link_offset_nano = self.offset.nano if self.offset else 0

    def _note_lag(self, sequence: int) -> None:
        """Remember a standstill of the core with the first event of its message."""
        lags = self._lags = self._lags or {}
        lags[sequence], self._lag_nano = self._lag_nano, 0
        if len(lags) > MAX_LAGS:
            del lags[next(iter(lags))]

    def _timing(self, stamps: Sequence[int]) -> events.Timing:
        """Return the stamps as a frame tells them."""
        model, logged, send, recv = (round(self.unix_nano(nano) / MICRO) / MICRO for nano in stamps)
        return events.Timing(model=model, logged=logged, send=send, recv=recv)
