"""Stalls that are planted into one stream of real processes, each at a token that is known."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from tests.support.conducted import Conductor
from tests.support.processes import Running, wait_until
from tests.support.redis_server import RedisServer
from tests.support.timed_stream import TimedStream
from tests.support.token_rows import Row, StallSpan, is_shown
from tests.support.traced import Traced, stopped, wait_idle

HELD_S: Final = 1.2
"""Twice the threshold: what a busy machine adds or what is planted a little late changes nothing."""


class Plant(NamedTuple):
    """A stall that was planted."""

    hops: Sequence[str]
    """It is due to the one of these that the stamps of the token say."""
    sequence: int
    cause: str


class Planting:
    """One stream, into which stalls are planted.

    Args:
        traced: The processes.
        conductor: Tells the agent what to do.
        stream: The stream.
    """

    def __init__(self, traced: Traced, conductor: Conductor, stream: TimedStream) -> None:
        self._traced = traced
        self._conductor = conductor
        self._stream = stream
        self.plants: list[Plant] = []

    def _arrived(self) -> int:
        """Return the sequence of the token before which the agent waits, once all before it is written."""
        sequence = self._conductor.stopped_at() + 1
        self._stream.until_sequence(sequence - 1)
        wait_idle(self._traced.core, self._traced.edge)
        return sequence

    def by_agent(self, what: str, *hops: str, cause: str = "") -> None:
        """Have the agent do it."""
        sequence = self._arrived()
        self._conductor.say(f"{what} {HELD_S}")
        self.plants.append(Plant(hops, sequence, cause))

    def in_log(self, redis: RedisServer) -> None:
        """Stop Redis while the token is to be logged."""
        sequence = self._arrived()
        with redis.stalled():
            self._conductor.say("go")
            time.sleep(HELD_S)
        self.plants.append(Plant(("log",), sequence, ""))

    def in_link(self) -> None:
        """Hold what the core sends to the edge."""
        sequence = self._arrived()
        self._traced.relay.freeze()
        self._conductor.say("go")
        time.sleep(HELD_S)
        self._traced.relay.thaw()
        self.plants.append(Plant(("link",), sequence, ""))

    def in_process(self, process: Running, cause: str, *hops: str) -> None:
        """Stop the core or the edge while the token is on its way: its event loop stands still."""
        sequence = self._arrived()
        with stopped(process):
            self._conductor.say("go")
            time.sleep(HELD_S)
        self.plants.append(Plant(hops, sequence, cause))

    def in_reader(self, size: int, count: int) -> None:
        """Have the client read no more, until the kernel takes nothing more from the edge."""
        sequence = self._arrived()
        self._stream.pause()
        self._conductor.say(f"big {size} {count}")
        taken = self._full()
        time.sleep(HELD_S)
        assert self._stream.taken_bytes() == taken, "nothing moves"
        self._stream.resume()
        self._stream.until_sequence(sequence + count)
        # The write that the kernel has not taken to its end, and the first token in it.
        chunk = next(frame.chunk for frame in self._stream.frames if frame.end_bytes > taken)
        stuck = next(frame for frame in self._stream.deltas if frame.chunk == chunk)
        assert sequence <= stuck.sequence < sequence + count
        self.plants.append(Plant(("write",), stuck.sequence, ""))

    def _full(self) -> int:
        """Return how much of the response the kernel has taken, once it takes nothing more."""
        seen: list[int] = [-1]

        def is_full() -> bool:
            seen.append(self._stream.taken_bytes())
            return len(seen) > 25 and len(set(seen[-25:])) == 1

        wait_until(is_full, "the kernel takes nothing more")
        return seen[-1]


def hop_by_stamps(stream: TimedStream, sequence: int) -> str:
    """Return which hop of the core or the link the token spent most time in, by what its frame says."""
    frames = {frame.sequence: frame.stamps for frame in stream.deltas}
    own, before = frames[sequence], frames[sequence - 1]
    spent = {
        "model": own["model"] - before["model"],
        "log": own["logged"] - own["model"],
        "send": own["send"] - own["logged"],
        "link": own["recv"] - own["send"],
    }
    return max(spent, key=spent.__getitem__)


def assert_planted(
    stalls: Sequence[StallSpan], planting: Planting, traced: Traced, rows: Mapping[int, Row] | None = None
) -> None:
    """Say that each stall that was planted is told, and none besides but those of the machine itself.

    Args:
        stalls: Those that were told.
        planting: Those that were planted.
        traced: The processes.
        rows: The stamps of the stream's events, where both processes have the same clock.
    """
    planted = {plant.sequence: plant for plant in planting.plants}
    for stall in stalls:
        if stall.sequence not in planted and not is_shown(stall, rows or {}):
            traced.assert_machine_stood(stall)
    told = {stall.sequence: stall for stall in stalls if stall.sequence in planted}
    assert told.keys() == planted.keys()
    wrong = [
        (plant, stall)
        for plant in planting.plants
        if (stall := told[plant.sequence]).hop not in plant.hops or stall.cause != plant.cause
    ]
    assert not wrong, wrong
    for stall in told.values():
        assert stall.ms > HELD_S * 1000 * 0.9, stall
