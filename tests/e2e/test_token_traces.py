"""Which hop made which token late: planted in real processes, read back behind a real OTLP hop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.support.conducted import AGENT, Conductor
from tests.support.otlp_sink import OtlpSink
from tests.support.processes import Processes, Running, wait_until
from tests.support.redis_server import RedisServer
from tests.support.relay import Relay, relay_to
from tests.support.rotel import rotel_and_sink
from tests.support.starvation import Starvation
from tests.support.timed_stream import TimedStream
from tests.support.token_rows import StallSpan, assert_rows, attributes_of_root, rows_of, stalls_of

TOKENS: Final = 5_000
RATE: Final = 500.0
STALL_MS: Final = 600
HELD_S: Final = 1.2
"""Twice the threshold: what a busy machine adds or what is planted a little late changes nothing."""

LOOKS: Final = 3
"""So often in a row a process must be found asleep to be taken for idle."""

pytestmark = [pytest.mark.needs("rotel", "redis"), pytest.mark.timeout(180)]


class Traced(NamedTuple):
    """Real processes that export their spans, and the test's means to disturb them."""

    processes: Processes
    sink: OtlpSink
    settings: Mapping[str, str]
    core: Running
    core_address: str
    relay: Relay
    edge: Running
    url: str
    starvation: Starvation

    def chat(self, message: str, **more: object) -> TimedStream:
        """Ask the agent; each event comes with its stamps."""
        body = {"message": message, "sessionId": "s", "agent": "conducted", **more}
        return TimedStream(self.url, "POST /api/chat?timing=1", body, receive_buffer_bytes=65_536)


@pytest.fixture
def traced(processes: Processes, redis_server: RedisServer) -> Iterator[Traced]:
    """A core with its log in Redis, an edge behind a relay, and rotel in front of a sink."""
    with traced_processes(processes, redis_server) as found:
        yield found


@contextmanager
def traced_processes(processes: Processes, redis_server: RedisServer, **more: str) -> Iterator[Traced]:
    """Run them; with further settings."""
    with rotel_and_sink(processes) as (sink, endpoint):
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "TOKENWIRE_STALL_MS": str(STALL_MS),
            "TOKENWIRE_AGENT": AGENT,
            "TOKENWIRE_STORE": redis_server.url,
            # A reader that has stopped must find what it has missed.
            "TOKENWIRE_LOG_RUN_BYTES": str(64 * 2**20),
            **more,
        }
        address, core = processes.core(agents=(), settings=settings)
        with relay_to(address) as relay:
            url, edge = processes.edge(relay.address, settings=settings)
            starvation = Starvation(processes)
            yield Traced(processes, sink, settings, core, address, relay, edge, url, starvation)
            # What is being exported is not to meet a hop that has gone.
            for process in (edge, core):
                process.stop()


def is_asleep(pid: int) -> bool:
    """Return whether none of a process's threads has anything to do."""
    stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats)


def wait_idle(*processes: Running) -> None:
    """Return once processes have done all that they had to do: they sleep whenever one looks."""
    seen = 0

    def idle() -> bool:
        nonlocal seen
        pids = [pid for process in processes for pid in workers_of(process)]
        seen = seen + 1 if all(map(is_asleep, pids)) else 0
        return seen >= LOOKS

    wait_until(idle, "the processes are idle")


def workers_of(process: Running) -> list[int]:
    """Return the ids of a process: the command has become the server itself."""
    return [process.pid]


@contextmanager
def stopped(process: Running) -> Iterator[None]:
    """Stop a process, with all that it has open."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


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
    others = [stall for stall in stalls if stall.sequence not in planted]
    for stall in others:
        stood = traced.starvation.within(stall.end_nano - STALL_MS * 1_000_000, stall.end_nano)
        assert 2 * stood > STALL_MS * 1_000_000, f"nobody planted it, nor did the machine stand: {stall}"
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
