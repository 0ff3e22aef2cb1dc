"""Which hop made which token late: planted in real processes, read back behind a real OTLP hop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Final

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.conducted import Conductor
from tests.support.paced import port_of
from tests.support.planting import Planting, assert_planted, hop_by_stamps
from tests.support.processes import Processes, wait_until
from tests.support.redis_server import RedisServer
from tests.support.token_rows import assert_rows, attributes_of_root, is_shown, rows_of, stalls_of
from tests.support.traced import Traced, traced_processes

TOKENS: Final = 5_000
RATE: Final = 250.0
"""So slow that what queued up behind a stall has gone long before the next one."""
CLIENT: Final = Span.SPAN_KIND_CLIENT

pytestmark = [pytest.mark.needs("rotel", "redis"), pytest.mark.timeout(180)]


@pytest.fixture
def traced(processes: Processes, redis_server: RedisServer) -> Iterator[Traced]:
    """A core with its log in Redis, an edge behind a relay, and rotel in front of a sink."""
    with traced_processes(processes, redis_server.url) as found:
        yield found


def test_each_stall_of_5000_tokens_is_told_with_its_token_and_its_hop(
    traced: Traced, redis_server: RedisServer
) -> None:
    """All tokens arrive behind a real OTLP hop, as they were stamped, and no stall that was not planted."""
    stops = range(500, TOKENS, 500)
    with Conductor() as conductor:
        with traced.chat(conductor.order(TOKENS, RATE, stops)) as stream:
            conductor.accept()
            planting = Planting(traced, conductor, stream)
            planting.by_agent("sleep", "model")
            planting.in_log(redis_server)
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
    assert_planted(stalls, planting, traced, rows)
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
    rows = rows_of(spans)
    assert_rows(rows, range(1, last + 1))
    told = attributes_of_root(root)
    assert (told["tokens"], told["dropped"], told["outcome"]) == (last - 1, 0, "error")
    *others, stall = stalls_of(spans)
    assert (stall.hop, stall.sequence, stall.is_open) == ("link", last + 1, True)
    assert told["stalls"] == len(others) + 1
    for other in others:
        if not is_shown(other, rows):
            traced.assert_machine_stood(other)
    # Not below one of the attempts to reconnect, which have no spans of their own.
    assert stall.parent in {each.span.span_id.hex() for each in spans if each.span.kind == CLIENT}

    settings = {**traced.settings, "TOKENWIRE_AGENT": "pace"}
    traced.processes.core(port_of(traced.core_address), agents=(), settings=settings)
    wait_until(lambda: bool(traced.sink.named("run lost")), "the run is told to be lost", 30)
    (lost,) = traced.sink.named("run lost")
    assert lost.span.trace_id.hex() == stream.trace_id
    assert lost.attributes["tokenwire.run.id"] == stream.run_id
