"""However a stream ends or goes on: each event of it has its row in the trace, and the row is right."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from tests.support.conducted import Conductor
from tests.support.processes import Processes, wait_until
from tests.support.redis_server import RedisServer
from tests.support.timed_stream import TimedStream
from tests.support.token_rows import (
    Row,
    StallSpan,
    assert_rows,
    attributes_of_root,
    is_shown,
    rows_of,
    stalls_of,
)
from tests.support.traced import STALL_MS, Traced, traced_processes

RATE: Final = 400.0
REPLAYED: Final = ("recv", "write")

pytestmark = [pytest.mark.needs("rotel", "redis"), pytest.mark.xdist_group("token trace endings")]


@pytest.fixture(scope="module")
def traced(module_processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """Processes that these tests share: each has streams of its own."""
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        with traced_processes(module_processes, redis.url) as found:
            yield found
    finally:
        redis.stop()


@pytest.fixture
def conductor() -> Iterator[Conductor]:
    """Tells the agent what to do."""
    with Conductor() as found:
        yield found


def told_of(traced: Traced, stream: TimedStream) -> tuple[dict[int, Row], list[StallSpan], dict[str, object]]:
    """Return what a stream's trace says: rows, stalls, summary."""
    root = traced.sink.wait_for_root(stream.trace_id)
    spans = [
        each
        for each in traced.sink.of_trace(stream.trace_id)
        if each.name != "tokens" or each.span.parent_span_id == root.span.span_id
    ]
    return rows_of(spans), stalls_of(spans), attributes_of_root(root)


def follow(url: str, run_id: str, after: int = 0) -> TimedStream:
    """Follow a run, as a page does that was reloaded, or that has come back."""
    headers = {"Last-Event-ID": f"{run_id}.1.{after}"} if after else {}
    return TimedStream(url, f"GET /api/runs/{run_id}/events?timing=1", headers=headers)


def linked_traces(traced: Traced, stream: TimedStream) -> set[str]:
    """Return the traces that some span of a stream's trace links to, as far as it has come."""
    spans = traced.sink.of_trace(stream.trace_id)
    return {link.trace_id.hex() for each in spans for link in each.span.links}


def has(stream: TimedStream, kind: str) -> bool:
    """Return whether a stream has told something of a kind."""
    return any(frame.event["type"] == kind for frame in stream.frames)


def assert_none_planted(traced: Traced, stalls: list[StallSpan], rows: dict[int, Row]) -> None:
    """Say that there is no stall but the machine's own: none is open, and none is due to the model."""
    for stall in stalls:
        if not is_shown(stall, rows):
            traced.assert_machine_stood(stall)


def assert_replayed(rows: dict[int, Row], first: int, last: int) -> None:
    """Say that these events have what belongs to the replay alone, and that those behind are live."""
    for sequence, row in rows.items():
        assert row.replayed is (first <= sequence <= last), sequence
        if row.replayed:
            assert tuple(row.stamps) == REPLAYED
            assert row.stamps["recv"] <= row.stamps["write"]


def test_events_that_are_merged_into_one_frame_share_its_write(traced: Traced, conductor: Conductor) -> None:
    """A row for each of them, with its own stamps of all other stages; one frame has one write."""
    with traced.chat(conductor.order(150, RATE, [50]), timing=False, session="merged") as stream:
        conductor.accept()
        conductor.stopped_at()
        stream.pause()
        conductor.say("big 60000 60")
        # Until the last one waits for a reader: the agent is done then.
        conductor.yielded()
        stream.resume()
        stream.to_end()
    rows, _, told = told_of(traced, stream)
    assert_rows(rows, range(1, 153), reread_from=51)
    merged = [frame for frame in stream.deltas if frame.event.get("from")]
    assert merged, "they have waited together"
    for frame in merged:
        events = range(int(frame.event["from"]), frame.sequence + 1)
        assert len(events) > 1
        assert len({rows[sequence].stamps["write"] for sequence in events}) == 1
    assert (told["tokens"], told["dropped"], told["outcome"]) == (150, 0, "completed")


def test_a_reload_of_a_run_that_goes_on_tells_replayed_rows_and_then_live_ones(
    traced: Traced, conductor: Conductor
) -> None:
    """What was in the log before has no live way here; what comes then has all five stages."""
    with traced.chat(conductor.order(300, RATE, [200]), session="reload") as first:
        conductor.accept()
        at = conductor.stopped_at()
        first.until_sequence(at)
        with follow(traced.url, first.run_id) as again:
            again.until(
                lambda: any(frame.event["type"] == "caught_up" for frame in again.frames), "caught up"
            )
            conductor.say("go")
            again.to_end()
        first.to_end()
    rows, _, told = told_of(traced, first)
    assert_rows(rows, range(1, 303))
    assert told["tokens"] == 300

    rows, stalls, told = told_of(traced, again)
    assert sorted(rows) == list(range(1, 303))
    assert_replayed(rows, 1, at)
    assert_rows({sequence: row for sequence, row in rows.items() if sequence > at}, range(at + 1, 303))
    assert_none_planted(traced, stalls, rows)
    assert (told["tokens"], told["dropped"]) == (300 - (at - 1), 0)
    wait_until(lambda: first.trace_id in linked_traces(traced, again), "the follow links to its run's trace")

    with follow(traced.url, first.run_id) as later:
        later.to_end()
    rows, stalls, told = told_of(traced, later)
    assert sorted(rows) == list(range(1, 303))
    assert_replayed(rows, 1, 302)
    assert (stalls, told["tokens"], told["dropped"]) == ([], 0, 0)


def test_a_run_that_is_followed_at_another_edge_has_live_rows_there(
    traced: Traced, conductor: Conductor
) -> None:
    """The reader comes back with its cursor, to an edge that has never seen the run."""
    other, _ = traced.processes.edge(traced.core_address, settings=traced.settings)
    with traced.chat(conductor.order(300, RATE, [100, 200]), session="resume") as first:
        conductor.accept()
        at = conductor.stopped_at()
        first.until_sequence(at)
    conductor.say("go")
    missed = conductor.stopped_at()
    with follow(other, first.run_id, after=at) as again:
        again.until_sequence(missed)
        conductor.say("go")
        again.to_end()
    rows, stalls, told = told_of(traced, first)
    assert_rows(rows, range(1, at + 1))
    assert_none_planted(traced, stalls, rows)
    assert (told["outcome"], told["tokens"]) == ("client_disconnect", at - 1)

    rows, stalls, told = told_of(traced, again)
    assert sorted(rows) == list(range(at + 1, 303))
    assert_replayed(rows, at + 1, missed)
    assert_rows(
        {sequence: row for sequence, row in rows.items() if sequence > missed}, range(missed + 1, 303)
    )
    assert_none_planted(traced, stalls, rows)
    assert (told["tokens"], told["dropped"], told["outcome"]) == (302 - 1 - missed, 0, "completed")


def test_stop_tells_the_model_that_was_waited_for(traced: Traced, conductor: Conductor) -> None:
    """All rows are there; the stall is open, behind the last event that was written: the run's end."""
    with traced.chat(conductor.order(300, RATE, [150]), session="stop") as stream:
        conductor.accept()
        at = conductor.stopped_at()
        stream.until_sequence(at)
        time.sleep(2 * STALL_MS / 1000)
        answer = httpx.post(f"{traced.url}/api/runs/{stream.run_id}/cancel", timeout=30, trust_env=False)
        assert answer.status_code == 200
        stream.to_end()
    assert stream.frames[-1].event["type"] == "done"
    rows, stalls, told = told_of(traced, stream)
    assert_rows(rows, range(1, at + 2))
    *others, stall = stalls
    assert (stall.hop, stall.sequence, stall.is_open, stall.cause) == ("model", at + 2, True, "")
    assert stall.ms >= 2 * STALL_MS
    assert_none_planted(traced, others, rows)
    assert (told["tokens"], told["dropped"], told["outcome"]) == (at - 1, 0, "cancelled")
    assert told["stalls"] == len(stalls)


def test_an_edge_that_drains_tells_all_rows_and_the_next_one_goes_on(
    traced: Traced, conductor: Conductor
) -> None:
    """Its last spans are exported while it goes down. No stall is open: the stream was told to come back."""
    url, edge = traced.processes.edge(traced.core_address, settings=traced.settings)
    body = {"message": conductor.order(2_000, RATE), "sessionId": "drain", "agent": "conducted"}
    with TimedStream(url, "POST /api/chat?timing=1", body) as stream:
        conductor.accept()
        stream.until_sequence(300)
        edge.send(signal.SIGTERM)
        stream.to_end()
        edge.wait()
    assert not stream.broken
    assert stream.frames[-1].event["type"] == "reconnect"
    last = stream.last_sequence
    with follow(traced.url, stream.run_id, after=last) as again:
        again.to_end()
    rows, stalls, told = told_of(traced, stream)
    assert_rows(rows, range(1, last + 1))
    assert_none_planted(traced, stalls, rows)
    assert (told["tokens"], told["dropped"], told["outcome"]) == (last - 1, 0, "drained")

    rows, stalls, told = told_of(traced, again)
    assert sorted(rows) == list(range(last + 1, 2_003))
    live = sorted(sequence for sequence, row in rows.items() if not row.replayed)
    assert_rows({sequence: rows[sequence] for sequence in live}, range(live[0], 2_003))
    assert_replayed(rows, last + 1, live[0] - 1)
    assert_none_planted(traced, stalls, rows)
    assert (told["tokens"], told["dropped"]) == (2_002 - live[0], 0)
