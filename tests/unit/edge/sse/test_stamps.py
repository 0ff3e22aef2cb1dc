"""The stamps of a stream's messages, of this machine and of another one."""

from __future__ import annotations

from typing import Any

import pytest

from edge.sse.stamps import EdgeClock, StreamStamps
from tests.support.fed_stream import FedStream
from tokenwire.latency.clock_bounds import Offset
from tokenwire.latency.segments import Segment
from tokenwire.latency.series import TokenSeries
from tokenwire.v1 import agent_service_pb2, event_pb2, stream_pb2

MS = 1_000_000
OWN = EdgeClock(id=0xAAAA_0000_0001, tag=1, wall_offset_nano=1_763_841_600_000 * MS)
THERE = 0xBBBB_0000_0002
BEGAN = 1_000 * MS


class Reader:
    """A stream whose messages are made by hand."""

    def __init__(self, *, live: bool = True, show: bool = False, offset: Offset | None = None) -> None:
        self.segments: list[Segment] = []
        self.heard: list[tuple[int, int, int]] = []
        self.series = TokenSeries(stall_nano=250 * MS, on_segment=self.segments.append)

        def hear(clock: int, sent: int, received: int) -> Offset | None:
            self.heard.append((clock, sent, received))
            return offset

        self.stamps = StreamStamps(self.series, OWN, began_nano=BEGAN, hear=hear, show=show)
        self.stream = FedStream(live=live, stamps=self.stamps)
        self.sequence = 0

    def feed(self, *, model: int, recv: int, clock: dict[str, int], **timing: int) -> None:
        """Feed one delta."""
        self.sequence += 1
        event = event_pb2.Event(sequence=self.sequence, epoch=1)
        event.create_time.FromNanoseconds(timing.pop("created", 0) or OWN.wall_offset_nano + model)
        event.timing.model_nano = model
        for name, value in ({"logged_nano": model + 10, "clock_tag": OWN.tag} | timing).items():
            setattr(event.timing, name, value)
        event.text_delta.content = "x"
        message = agent_service_pb2.StreamRunResponse(
            run_id="k7q2", clock=stream_pb2.Clock(**clock), events=[event]
        )
        self.stream.feed(message.SerializeToString(), recv)

    def rows(self) -> list[tuple[int, ...]]:
        """Write all, and return the rows' stamps."""
        self.stream.take()
        self.series.written(9_000 * MS)
        self.series.finish()
        return [row for segment in self.segments for row in zip(*segment.columns, strict=True)]


def own_clock(send: int, **more: int) -> dict[str, Any]:
    return {"id": OWN.id, "send_nano": send, **more}


def test_stamps_of_this_machine_are_taken_as_they_are() -> None:
    """One clock for all processes of a boot: they can be subtracted."""
    reader = Reader()
    for at in (2_000 * MS, 2_100 * MS):
        reader.feed(model=at, clock=own_clock(at + 1 * MS), recv=at + 2 * MS)
    assert reader.rows() == [
        (at, at + 10, at + 1 * MS, at + 2 * MS, 9_000 * MS) for at in (2_000 * MS, 2_100 * MS)
    ]
    assert reader.heard == []
    assert not reader.stamps.is_elsewhere


def test_stamps_of_another_machine_are_placed_by_its_wall_clock() -> None:
    """Its monotonic clock says nothing here. What the wall clocks differ by stays in, and is told."""
    reader = Reader(offset=Offset(-1_500 * MS, 3))
    ahead = 1_500 * MS
    created = OWN.wall_offset_nano + 2_000 * MS + ahead
    first = {"id": THERE, "send_nano": 70, "send_unix_nano": created + 1 * MS}
    reader.feed(model=50, logged_nano=60, clock_tag=2, created=created, clock=first, recv=2_003 * MS)
    later = {"id": THERE, "send_nano": 70 + 5 * MS}
    reader.feed(model=51, logged_nano=61, clock_tag=2, created=created + 4 * MS, clock=later, recv=2_008 * MS)
    sent = 2_001 * MS + ahead
    assert [row[:4] for row in reader.rows()] == [
        (2_000 * MS + ahead, 2_000 * MS + ahead + 10, sent, 2_003 * MS),
        (2_004 * MS + ahead, 2_004 * MS + ahead + 10, sent + 5 * MS, 2_008 * MS),
    ]
    unix = OWN.wall_offset_nano
    assert reader.heard == [
        (THERE, unix + sent, unix + 2_003 * MS),
        (THERE, unix + sent + 5 * MS, unix + 2_008 * MS),
    ]
    assert reader.series.link_offset_nano == -1_500 * MS
    assert reader.stamps.offset == Offset(-1_500 * MS, 3)


def test_an_event_that_another_core_of_this_machine_passes_on_keeps_its_stamps() -> None:
    """The log's writer and the one who serves it may be two processes of one boot, or of two machines."""
    reader = Reader()
    clock = {"id": THERE, "send_nano": 1, "send_unix_nano": OWN.wall_offset_nano + 2_001 * MS}
    reader.feed(model=2_000 * MS, clock=clock, recv=2_002 * MS)
    assert reader.rows()[0][:3] == (2_000 * MS, 2_000 * MS + 10, 2_001 * MS)


def test_a_follow_replays_until_the_core_says_that_it_has_caught_up() -> None:
    """Whatever the clocks say."""
    reader = Reader(live=False)
    reader.feed(model=2_000 * MS, clock=own_clock(2_001 * MS), recv=2_002 * MS)
    control = stream_pb2.Control(caught_up=stream_pb2.CaughtUp())
    reader.stream.feed(
        agent_service_pb2.FollowRunResponse(run_id="k7q2", control=control).SerializeToString(), 1
    )
    reader.feed(model=3_000 * MS, clock=own_clock(3_001 * MS), recv=3_002 * MS)
    reader.rows()
    assert [(segment.first, segment.replayed) for segment in reader.segments] == [(1, True), (2, False)]


def test_a_standstill_of_the_core_is_kept_with_the_event_that_came_after_it() -> None:
    """The first one of its message: that is the one which was late."""
    reader = Reader()
    reader.feed(model=2_000 * MS, clock=own_clock(2_001 * MS), recv=2_002 * MS)
    reader.feed(model=3_000 * MS, clock=own_clock(3_001 * MS, loop_lag_nano=900 * MS), recv=3_002 * MS)
    assert [reader.stamps.core_lag_nano(sequence) for sequence in (1, 2)] == [0, 900 * MS]


def test_frames_tell_their_stamps_where_it_is_asked_for() -> None:
    """In Unix milliseconds, to the microsecond."""
    reader = Reader(show=True)
    reader.feed(model=2_000 * MS, clock=own_clock(2_001 * MS + 234_567), recv=2_002 * MS)
    (item,) = reader.stream.state._items
    assert isinstance(item, tuple)
    assert len(item) == 3
    timing = item[2].timing
    assert timing is not None
    base = OWN.wall_offset_nano / MS
    assert timing.send == pytest.approx(base + 2_001.234_567, abs=0.001)
    assert (timing.model, timing.logged, timing.recv) == (base + 2_000, base + 2_000, base + 2_002)


def test_what_opens_and_ends_a_run_is_remembered() -> None:
    """Below which span stalls are told, and whether a silence had an end."""
    reader = Reader()
    started = event_pb2.Event(sequence=1, epoch=1)
    started.run_started.run_id, started.run_started.traceparent = "k7q2", "00-1-2-01"
    ended = event_pb2.Event(sequence=2, epoch=1)
    ended.done.final_message = "x"
    message = agent_service_pb2.StreamRunResponse(run_id="k7q2", events=[started, ended])
    assert reader.stamps.terminal is None
    reader.stream.feed(message.SerializeToString(), 1)
    assert reader.stamps.run_traceparent == "00-1-2-01"
    assert reader.stamps.terminal is reader.stream.state.terminal


def test_of_many_standstills_the_last_ones_are_kept() -> None:
    """They are asked for soon, or never."""
    reader = Reader()
    for number in range(70):
        lag = own_clock(3_000 * MS + number, loop_lag_nano=20 * MS)
        reader.feed(model=3_000 * MS, clock=lag, recv=3_001 * MS)
    assert reader.stamps.core_lag_nano(1) == 0
    assert reader.stamps.core_lag_nano(70) == 20 * MS
