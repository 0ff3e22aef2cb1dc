"""Which events were in the log already when their stream's request came, as their stamps tell."""

from __future__ import annotations

from typing import Final

import pytest

from edge.sse.stamps import EdgeClock, StreamStamps
from tokenwire.latency.clock_bounds import Offset
from tokenwire.latency.segments import Segment
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.latency.series import DELTA, TokenSeries
from tokenwire.v1.event_pb2 import Event, EventTiming, TextDelta

MS: Final = 1_000_000
BEGAN: Final = 10**12
CLOCK: Final = EdgeClock(id=2**40 + 77, tag=77, wall_offset_nano=1_790_000_000 * 10**9)
OTHER: Final = 2**41 + 78


class Stamped:
    """A stream's stamps, and the segments that come of them.

    Args:
        offset: What is known of the clock of another machine.
    """

    def __init__(self, offset: Offset | None = None) -> None:
        self.segments: list[Segment] = []
        series = TokenSeries(stall_nano=250 * MS, on_segment=self.segments.append)
        self.stamps = StreamStamps(series, CLOCK, began_nano=BEGAN, hear=lambda *_: offset)

    def replayed(self) -> list[bool]:
        """Return of each segment whether it was replayed."""
        self.stamps.series.take()
        self.stamps.series.written(BEGAN + 10_000 * MS)
        self.stamps.series.finish()
        return [segment.replayed for segment in self.segments]


def event_of(sequence: int, logged: int, *, clock_id: int = CLOCK.id, wall_nano: int = 0) -> Event:
    """Return an event that was logged 1 ms after it was yielded."""
    timing = EventTiming(model_nano=logged - MS, logged_nano=logged, clock_tag=clock_id & 0xFFFF_FFFF)
    event = Event(epoch=1, sequence=sequence, timing=timing, text_delta=TextDelta(content="a"))
    event.create_time.FromNanoseconds(wall_nano)
    return event


@pytest.mark.parametrize(("logged", "replayed"), [(BEGAN - 1, True), (BEGAN, False)])
def test_an_event_that_was_logged_before_the_request_is_replayed(logged: int, replayed: bool) -> None:
    """A request that is repeated joins a run that goes on: what is told at once has no live way."""
    stamped = Stamped()
    stamped.stamps.response(SenderClock(CLOCK.id, BEGAN + MS, 0, 0), BEGAN + 2 * MS)
    stamped.stamps.event(event_of(1, logged), 1, DELTA, True)
    assert stamped.replayed() == [replayed]


@pytest.mark.parametrize(
    ("offset", "logged_ms", "replayed"),
    [
        (None, 5, False),
        (Offset(1_500 * MS, MS), 5, False),
        (Offset(1_500 * MS, 50 * MS), -40, False),
        (Offset(1_500 * MS, MS), -40, True),
    ],
    ids=["unknown offset", "after the request", "perhaps after it", "before the request"],
)
def test_a_clock_that_is_behind_makes_no_live_event_a_replayed_one(
    offset: Offset | None, logged_ms: int, replayed: bool
) -> None:
    """The wall clock of a core's machine may be off: what it says is moved by what is known of that."""
    stamped = Stamped(offset)
    logged = 7 * 10**11
    behind = 1_500 * MS
    wall = BEGAN + logged_ms * MS - MS + CLOCK.wall_offset_nano - behind
    send = SenderClock(OTHER, logged + MS, wall + 2 * MS, 0)
    stamped.stamps.response(send, BEGAN + 20 * MS)
    stamped.stamps.event(event_of(1, logged, clock_id=OTHER, wall_nano=wall), 1, DELTA, True)
    assert stamped.replayed() == [replayed]


def test_what_a_message_without_events_says_of_the_loop_is_told_of_the_next_event() -> None:
    """A core that stood still may first say that the log is away."""
    stamps = Stamped().stamps
    stamps.response(SenderClock(CLOCK.id, BEGAN, 0, 400 * MS), BEGAN + MS)
    stamps.response(SenderClock(CLOCK.id, BEGAN + MS, 0, 20 * MS), BEGAN + 2 * MS)
    for sequence in (1, 2):
        stamps.event(event_of(sequence, BEGAN), sequence, DELTA, True)
    assert [stamps.core_lag_nano(sequence) for sequence in (1, 2)] == [420 * MS, 0]
