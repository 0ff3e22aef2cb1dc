"""Which hop made which token late: planted in real processes, read back behind a real OTLP hop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.conducted import Conductor
from tests.support.paced import port_of
from tests.support.processes import Processes, Running, wait_until
from tests.support.redis_server import RedisServer
from tests.support.timed_stream import TimedStream
from tests.support.token_rows import StallSpan, assert_rows, attributes_of_root, rows_of, stalls_of
from tests.support.traced import Traced, stopped, traced_processes, wait_idle

TOKENS: Final = 5_000
RATE: Final = 500.0
HELD_S: Final = 1.2
"""Twice the threshold: what a busy machine adds or what is planted a little late changes nothing."""

CLIENT: Final = Span.SPAN_KIND_CLIENT

pytestmark = [pytest.mark.needs("rotel", "redis"), pytest.mark.timeout(180)]


@pytest.fixture
def traced(processes: Processes, redis_server: RedisServer) -> Iterator[Traced]:
    """A core with its log in Redis, an edge behind a relay, and rotel in front of a sink."""
    with traced_processes(processes, redis_server.url) as found:
        yield found


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
        redis_server: The log.
    """

    def __init__(
        self, traced: Traced, conductor: Conductor, stream: TimedStream, redis_server: RedisServer
    ) -> None:
        self._traced = traced
        self._conductor = conductor
        self._stream = stream
        self._redis = redis_server
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

    def in_log(self) -> None:
        """Stop Redis while the token is to be logged."""
        sequence = self._arrived()
        with self._redis.stalled():
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


def assert_planted(stalls: Sequence[StallSpan], planting: Planting, traced: Traced) -> None:
    """Say that each stall that was planted is told, and none besides but those of the machine itself."""
    planted = {plant.sequence: plant for plant in planting.plants}
    for stall in stalls:
        if stall.sequence not in planted:
            traced.assert_machine_stood(stall)
    told = {stall.sequence: stall for stall in stalls if stall.sequence in planted}
    assert told.keys() == planted.keys()
    assert [
        (told[plant.sequence].hop in plant.hops, told[plant.sequence].cause) for plant in planting.plants
    ] == [(True, plant.cause) for plant in planting.plants], told
    for stall in told.values():
        assert stall.ms > HELD_S * 1000 * 0.9, stall


def test_each_stall_of_5000_tokens_is_told_with_its_token_and_its_hop(
    traced: Traced, redis_server: RedisServer
) -> None:
    """All tokens arrive behind a real OTLP hop, as they were stamped, and no stall that was not planted."""
    stops = range(500, TOKENS, 500)
    with Conductor() as conductor:
        with traced.chat(conductor.order(TOKENS, RATE, stops)) as stream:
            conductor.accept()
            planting = Planting(traced, conductor, stream, redis_server)
            planting.by_agent("sleep", "model")
            planting.in_log()
            planting.by_agent("block", "model", cause="core_loop")
            planting.by_agent("block-after", "log", "send", cause="core_loop")
            planting.in_process(traced.core, "core_loop", "model")
            planting.in_link()
            planting.in_process(traced.edge, "edge_loop", "link")
            planting.by_agent("sleep", "model")
            planting.in_reader(60_000, 120)
            yielded = conductor.yielded()
            stream.to_end()
        assert stream.frames[-1].event["type"] == "done"
    root = traced.sink.wait_for_root(stream.trace_id)
    spans = traced.sink.of_trace(stream.trace_id)

    rows = rows_of(spans)
    assert_rows(rows, range(1, TOKENS + 3), reread_from=stops[-1] + 1)
    frames = {frame.sequence: frame for frame in stream.frames if frame.sequence}
    assert frames.keys() == rows.keys()
    for sequence, frame in frames.items():
        for stage, us in frame.stamps.items():
            assert abs(rows[sequence].stamps[stage] - us) <= 2, (sequence, stage)
    offset = time.time_ns() - time.monotonic_ns()
    for number, nano in enumerate(yielded, start=1):
        late_us = rows[number + 1].stamps["model"] - (nano + offset) // 1000
        assert late_us > -100, "not before the agent had it"
    told = attributes_of_root(root)
    assert (told["tokens"], told["dropped"], told["outcome"]) == (TOKENS, 0, "completed")

    stalls = stalls_of(spans)
    assert told["stalls"] == len(stalls)
    assert_planted(stalls, planting, traced)
    for plant in planting.plants:
        if plant.hops != ("write",):
            stall = next(stall for stall in stalls if stall.sequence == plant.sequence)
            assert stall.hop == hop_by_stamps(stream, plant.sequence)


def test_a_core_that_is_killed_leaves_all_rows_and_says_what_was_waited_for(
    traced: Traced, redis_server: RedisServer
) -> None:
    """Each event that was written has its row, the stall is open, and the next core tells of the run."""
    del redis_server
    with Conductor() as conductor:
        with traced.chat(conductor.order(100_000, RATE)) as stream:
            conductor.accept()
            stream.until_sequence(700)
            traced.core.send(signal.SIGKILL)
            traced.core.wait()
            stream.to_end()
        assert not stream.broken
    end = stream.frames[-1]
    assert (end.event["type"], end.event["code"], end.sequence) == ("error", "UNAVAILABLE", 0)
    root = traced.sink.wait_for_root(stream.trace_id)
    spans = traced.sink.of_trace(stream.trace_id)

    last = stream.last_sequence
    assert last >= 700
    assert_rows(rows_of(spans), range(1, last + 1))
    told = attributes_of_root(root)
    assert (told["tokens"], told["dropped"], told["outcome"]) == (last - 1, 0, "error")
    *others, stall = stalls_of(spans)
    assert (stall.hop, stall.sequence, stall.is_open) == ("link", last + 1, True)
    assert told["stalls"] == len(others) + 1
    for other in others:
        traced.assert_machine_stood(other)
    # Not below one of the attempts to reconnect, which have no spans of their own.
    assert stall.parent in {each.span.span_id.hex() for each in spans if each.span.kind == CLIENT}

    settings = {**traced.settings, "TOKENWIRE_AGENT": "pace"}
    traced.processes.core(port_of(traced.core_address), agents=(), settings=settings)
    wait_until(lambda: bool(traced.sink.named("run lost")), "the run is told to be lost", 30)
    (lost,) = traced.sink.named("run lost")
    assert lost.span.trace_id.hex() == stream.trace_id
    assert lost.attributes["tokenwire.run.id"] == stream.run_id
