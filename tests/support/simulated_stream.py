"""One stream on a simulated clock, from the agent to the socket: real messages, real state, chosen times.

Each hop is a queue as the real one is: the log takes in groups what came while it was busy, the core sends
what is logged in one message, the link keeps the order, the edge reads while it writes up to its budget, and
writes what waits in one piece.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from edge.sse.stamps import EdgeClock, StreamStamps
from tests.support.fed_stream import FedStream
from tokenwire.latency.clock_bounds import ClockBounds, Offset
from tokenwire.latency.segments import Segment
from tokenwire.latency.series import Stall, TokenSeries
from tokenwire.latency.stages import EDGE_STAGES
from tokenwire.v1.agent_service_pb2 import FollowRunResponse
from tokenwire.v1.event_pb2 import Event, EventTiming, Progress, ReasoningDelta, TextDelta
from tokenwire.v1.stream_pb2 import Clock

MS: Final = 1_000_000
US: Final = 1_000
CLOCK: Final = EdgeClock(id=2**40 + 77, tag=77, wall_offset_nano=1_790_000_000 * 10**9 + 321)
OTHER_CLOCK_ID: Final = 2**41 + 78
OTHER_MONOTONIC_NANO: Final = 7 * 10**11 + 123_456_789
"""By how much the monotonic clock of the core's machine is behind, where that is another one."""

RUN_ID: Final = "r" * 30
MESSAGE_EVENTS: Final = 512
BEGAN_NANO: Final = 10**12


@dataclass
class Plant:
    """A hop that holds the first event it meets from a sequence on, and all that comes behind it."""

    hop: str
    sequence: int
    nano: int
    struck: int = 0
    """The first event that was held."""


class Pace(NamedTuple):
    """How a stream goes where nothing was planted."""

    gap_nano: int
    """Between events of the agent, on average."""
    jitter: float
    """By which share of it a gap may be longer or shorter."""
    progress_every: int
    """After so many tokens there is an event that is none; 0 for never."""
    log_nano: int
    """How long an append takes."""
    link_nano: int
    """How long a message is on its way."""
    budget_bytes: int
    merge: bool


@dataclass
class Simulation:
    """One stream.

    Args:
        chance: Where all that varies comes from.
        pace: How it goes.
        plants: What is planted.
        stall_nano: From which gap on there is a stall.
        skew_nano: By how much the core's wall clock is ahead, on a machine of its own; None for one machine.
    """

    chance: random.Random
    pace: Pace
    plants: Sequence[Plant]
    stall_nano: int
    skew_nano: int | None = None
    stalls: list[Stall] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    is_token: dict[int, bool] = field(default_factory=dict)
    offset: Offset | None = None
    """How far the edge's clock is ahead of the core's, as far as it has found out."""

    def run(self, count: int) -> None:
        """Have so many events go through it."""
        self.series = TokenSeries(stall_nano=self.stall_nano, on_segment=self.segments.append)
        bounds = ClockBounds()
        # What a request to the core has proved: that took half a millisecond.
        bounds.answered(BEGAN_NANO, BEGAN_NANO + MS // 2 + (self.skew_nano or 0))

        def hear(_: int, sent_there: int, received_here: int) -> Offset | None:
            bounds.received(sent_there - CLOCK.wall_offset_nano, received_here - CLOCK.wall_offset_nano)
            self.offset = bounds.offset(received_here - CLOCK.wall_offset_nano)
            return self.offset

        stamps = StreamStamps(self.series, CLOCK, began_nano=BEGAN_NANO, hear=hear)
        self._stream = FedStream(
            budget_bytes=self.pace.budget_bytes, merge=self.pace.merge, live=True, stamps=stamps
        )
        self._write(self._arrive(self._send(self._log(self._yield(count)))))
        self.series.finish()

    def expected(self, plant: Plant) -> int:
        """Return the token that a plant has made late: the first of what was held."""
        return next(number for number in range(plant.struck, len(self.is_token) + 1) if self.is_token[number])

    def _held(self, hop: str, sequence: int) -> int:
        """Return for how long a hop holds what begins with an event."""
        for plant in self.plants:
            if plant.hop == hop and not plant.struck and sequence >= plant.sequence:
                plant.struck = sequence
                return plant.nano
        return 0

    def _between(self, low_us: float, high_us: float) -> int:
        return round(self.chance.uniform(low_us, high_us) * US)

    def _yield(self, count: int) -> list[tuple[int, int]]:
        now, found = BEGAN_NANO + MS, []
        low, high = 1 - self.pace.jitter, 1 + self.pace.jitter
        for sequence in range(1, count + 1):
            every = self.pace.progress_every
            self.is_token[sequence] = sequence == count or not every or sequence % every > 0
            now += round(self.pace.gap_nano * self.chance.uniform(low, high))
            now += self._held("model", sequence)
            found.append((sequence, now))
        return found

    def _log(self, yielded: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
        """Append in groups: what came while an append was under way is the next one."""
        waiting, found, free_at = deque(yielded), [], 0
        while waiting:
            begins = max(free_at, waiting[0][1])
            group = []
            while waiting and waiting[0][1] <= begins:
                group.append(waiting.popleft())
            free_at = begins + self.pace.log_nano + self._between(0, 300) + self._held("log", group[0][0])
            found += [(sequence, model, free_at) for sequence, model in group]
        return found

    def _send(self, logged: list[tuple[int, int, int]]) -> list[tuple[int, bytes]]:
        """Send what is logged in one message; the transport takes it a little later."""
        waiting, found, free_at = deque(logged), [], 0
        while waiting:
            free_at += self._held("send", waiting[0][0])
            now = max(free_at, waiting[0][2]) + self._between(5, 50)
            batch = []
            while waiting and waiting[0][2] <= now and len(batch) < MESSAGE_EVENTS:
                batch.append(waiting.popleft())
            events = [self._event(*each) for each in batch]
            response = FollowRunResponse(run_id=RUN_ID, clock=self._clock(now, not found), events=events)
            found.append((now, response.SerializeToString()))
            free_at = now + self._between(5, 100)
        return found

    def _clock(self, now: int, is_first: bool) -> Clock:
        """Return what the core says of a moment; of the wall clock only at first."""
        if self.skew_nano is None:
            clock = Clock(id=CLOCK.id, send_nano=now)
        else:
            clock = Clock(id=OTHER_CLOCK_ID, send_nano=now - OTHER_MONOTONIC_NANO)
        if is_first:
            clock.send_unix_nano = now + CLOCK.wall_offset_nano + (self.skew_nano or 0)
        return clock

    def _event(self, sequence: int, model: int, logged: int) -> Event:
        clock = self._clock(model, is_first=True)
        timing = EventTiming(
            model_nano=clock.send_nano,
            logged_nano=clock.send_nano + logged - model,
            clock_tag=clock.id & 0xFFFF_FFFF,
        )
        event = Event(epoch=1, sequence=sequence, timing=timing)
        event.create_time.FromNanoseconds(model + CLOCK.wall_offset_nano + (self.skew_nano or 0))
        if not self.is_token[sequence]:
            event.progress.CopyFrom(Progress(percent=50, message="on the way"))
        elif self.chance.random() < 0.1:
            event.reasoning_delta.CopyFrom(ReasoningDelta(content="hm ", token_count=1))
        else:
            event.text_delta.CopyFrom(TextDelta(content=f"{sequence} ", token_count=1))
        return event

    def _arrive(self, sent: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Carry messages in order: what is held holds what comes behind it."""
        found, before = [], 0
        for now, message in sent:
            first = FollowRunResponse.FromString(message).events[0].sequence
            on_its_way = self.pace.link_nano + self._between(0, 700)
            before = max(before, now + on_its_way + self._held("link", first))
            found.append((before, message))
        return found

    def _write(self, arrived: list[tuple[int, bytes]]) -> None:
        """Read and write as the edge does: while a write is in flight, reading goes on up to the budget."""
        stream, waiting = self._stream, deque(arrived)
        state = stream.state
        now, done_at = 0, 0
        while waiting or state.waiting or done_at:
            if waiting and not state.full:
                recv = max(now, waiting[0][0])
                if recv <= done_at if done_at else not state.waiting or recv <= now:
                    now = recv
                    stream.feed(waiting.popleft()[1], now)
                    continue
            if done_at:
                now, done_at = done_at, 0
                stall = self.series.written(now)
                if stall is not None:
                    self.stalls.append(stall)
                continue
            first = self._first_waiting()
            stream.take()
            done_at = now + self._between(10, 200) + self._held("write", first)

    def _first_waiting(self) -> int:
        return self.series.last_sequence + 1


def assert_segments(segments: Sequence[Segment], count: int, *, skewed: bool = False) -> None:
    """Say that there is one live row for each event, in the order of all events, and of its stages.

    Args:
        segments: They.
        count: How many events there were.
        skewed: Whether the stages of the core are by another clock than those of the edge.
    """
    sequences = [segment.first + i for segment in segments for i in range(segment.rows)]
    assert sequences == list(range(1, count + 1))
    assert not any(segment.replayed for segment in segments)
    before = (-(2**63),) * EDGE_STAGES
    for segment in segments:
        for row in zip(*segment.columns, strict=True):
            for part in (row[:3], row[3:]) if skewed else (row,):
                assert all(early <= late for early, late in pairwise(part))
            assert all(early <= late for early, late in zip(before, row, strict=True))
            before = row
