from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.otlp_lines import MS, Made, Plant, make_direct, make_follow, make_stream, write_lines
from tokenwire.traces.files import TraceFiles
from tokenwire.traces.source import Found, choose
from tokenwire.traces.spans import Span
from tokenwire.traces.streams import Trace, assemble, by_hop, core_shift, gaps, spread

PLANTS = [
    Plant(50, "model", 900, cause="core_loop"),
    Plant(90, "log", 400),
    Plant(130, "send", 500),
    Plant(170, "link", 812, behind=40),
    Plant(250, "write", 650, behind=30),
]
SKEW = {
    "tokenwire.clock.offset_us": 3_400,
    "tokenwire.clock.error_us": 210,
    "tokenwire.clock.method": "bounds",
}


def read(folder: Path, wanted: Made, *others: Made) -> Found:
    source = TraceFiles([write_lines(folder / "s.jsonl", wanted, *others)], pytest.fail)
    return source.trace(choose(wanted.id, source.candidates(wanted.id)))


def trace_of(folder: Path, wanted: Made, *others: Made) -> Trace:
    return assemble(read(folder, wanted, *others))


def changed(found: Found, name: str, **changes: Any) -> Found:
    spans = [replace(span, **changes) if span.name == name else span for span in found.spans]
    return replace(found, spans=spans)


def test_a_stream_has_each_rows_stamps(tmp_path: Path) -> None:
    """From the segments of one parent, in the order of their sequences, six stages with the browser's."""
    made = make_stream(300, PLANTS, browser=True)
    (stream,) = trace_of(tmp_path, made).streams
    assert [row.sequence for row in stream.rows] == list(range(1, 301))
    for stage, stamps in made.stamps.items():
        read_back = [row.stamps[stage] for row in stream.rows]  # type: ignore[index]
        assert all(abs(a - b) < 2_000 for a, b in zip(stamps, read_back, strict=True))


def test_each_stall_is_told_with_its_stream(tmp_path: Path) -> None:
    """Wherever its span hangs: below the agent, the call or the stream itself."""
    trace = trace_of(tmp_path, make_stream(300, PLANTS))
    (stream,) = trace.streams
    told = [(stall.sequence, stall.hop, stall.ms, stall.behind, stall.cause) for stall in stream.stalls]
    assert told == [(plant.sequence, plant.hop, plant.ms, plant.behind, plant.cause) for plant in PLANTS]
    assert not trace.stray_stalls


def test_the_spread_by_hop_names_the_token_that_was_slowest(tmp_path: Path) -> None:
    """It is the planted one in each hop."""
    (stream,) = trace_of(tmp_path, make_stream(300, PLANTS)).streams
    found = by_hop(stream)
    assert {hop: each.max_sequence for hop, each in found.items()} == {
        plant.hop: plant.sequence for plant in PLANTS
    }
    assert all(0 <= found[plant.hop].max_ns - plant.ms * MS < 30 * MS for plant in PLANTS)  # type: ignore[index]


def test_the_wait_for_the_first_token_is_no_gap(tmp_path: Path) -> None:
    """612 ms of it: neither a gap between tokens nor a time in `model`, with a root and without."""
    for made in (make_stream(60), make_stream(60, with_root=False)):
        (stream,) = trace_of(tmp_path, made).streams
        assert stream.first_token == 2
        spread_of_gaps = gaps(stream)
        assert spread_of_gaps is not None
        assert spread_of_gaps.max_ns < 40 * MS
        assert by_hop(stream)["model"].max_ns < 40 * MS


def test_a_tools_work_is_told_and_is_no_gap(tmp_path: Path) -> None:
    """A row that came late since a tool was at work says which."""
    made = make_stream(60, [Plant(30, "model", 500)])
    found = read(tmp_path, made)
    at = made.stamps["model"][29]
    worked = changed(found, "execute_tool lookup", start_ns=at - 480 * MS, end_ns=at - MS)
    (stream,) = assemble(worked).streams
    assert [row.sequence for row in stream.rows if row.note == "after tool lookup"] == [30]
    assert gaps(stream).max_ns < 40 * MS  # type: ignore[union-attr]


def test_a_follow_has_replayed_and_live_rows(tmp_path: Path) -> None:
    """With the stall in the core that it saw live, which is a span of the run's trace."""
    run = make_stream(300, [Plant(100, "model", 900), Plant(200, "model", 900)], name="run")
    follow = make_follow(run, 90, 60, start_ns=run.stamps["write"][150] - 5 * MS)
    trace = trace_of(tmp_path, follow, run)
    (stream,) = trace.streams
    assert [row.sequence for row in stream.rows if row.is_replayed] == list(range(91, 151))
    assert {hop for row in stream.rows if row.is_replayed for hop in row.hops} == {"write"}
    assert [stall.sequence for stall in stream.stalls] == [200]
    assert all(row.same_write == 60 for row in stream.rows if row.is_replayed)


def test_an_open_stall_belongs_to_the_token_that_never_came(tmp_path: Path) -> None:
    """Its sequence is the last written one + 1."""
    made = make_stream(60, [Plant(61, "model", 5_000, is_open=True)], outcome="client_disconnect")
    (stream,) = trace_of(tmp_path, made).streams
    assert [(stall.sequence, stall.is_open) for stall in stream.stalls] == [(61, True)]


def test_a_stall_that_no_stream_has_a_row_of_is_kept_apart(tmp_path: Path) -> None:
    """Another edge's stream of the run saw it, after this one's browser had left."""
    made = make_stream(60, [Plant(400, "model", 900)])
    trace = trace_of(tmp_path, made)
    assert [stall.sequence for stall in trace.stray_stalls] == [400]
    assert not trace.streams[0].stalls


def test_a_stall_that_two_streams_saw_is_told_once(tmp_path: Path) -> None:
    """Both edges write a span under the agent's."""
    twice = [Plant(50, "model", 900), Plant(50, "model", 900.2)]
    (stream,) = trace_of(tmp_path, make_stream(60, twice)).streams
    assert len(stream.stalls) == 1


def test_spans_that_were_exported_twice_count_once(tmp_path: Path) -> None:
    """An exporter repeats what was not acknowledged."""
    made = make_stream(300, PLANTS)
    made.spans *= 2
    trace = trace_of(tmp_path, made)
    assert len(trace.spans) == len(made.spans) / 2
    assert len(trace.streams[0].stalls) == len(PLANTS)


def test_a_broken_segment_costs_its_own_tokens_alone(tmp_path: Path) -> None:
    """The others are shown, and it is said."""
    found = read(tmp_path, make_stream(300))
    broken: Span = next(span for span in found.spans if span.attributes.get("tokenwire.tokens.first") == 129)
    spans = [span for span in found.spans if span is not broken]
    spans.append(replace(broken, attributes={**broken.attributes, "tokenwire.tokens.write_us": "1,x"}))
    trace = assemble(replace(found, spans=spans))
    assert len(trace.streams[0].rows) == 300 - 128
    (problem,) = trace.problems
    assert broken.span_id in problem


def test_a_stream_without_its_root_still_has_its_rows(tmp_path: Path) -> None:
    """The edge was killed: it counts from its first stamp."""
    made = make_stream(200, with_root=False)
    (stream,) = trace_of(tmp_path, made).streams
    assert stream.root is None
    assert (len(stream.rows), stream.start_ns) == (200, made.stamps["model"][0])


def test_a_direct_callers_stream_ends_at_send(tmp_path: Path) -> None:
    """The core's own series, of three stages."""
    (stream,) = trace_of(tmp_path, make_direct(50)).streams
    assert by_hop(stream).keys() == {"model", "log", "send"}


def test_skewed_clocks_are_corrected_by_the_published_offset(tmp_path: Path) -> None:
    """The link's time is right to the error; without the attributes it would be 3.3 ms too long."""
    skewed = make_stream(200, offset_ns=3_300_000, clock=SKEW)
    trace = trace_of(tmp_path, skewed)
    (stream,) = trace.streams
    assert (stream.clock.offset_us, stream.clock.error_us, stream.clock.method) == (3_400, 210, "bounds")
    assert abs(by_hop(stream)["link"].p50_ns - 300_000) <= 210_000
    moved = core_shift(trace)
    names = sorted(span.name.split(" ")[0] for span in trace.spans if span.span_id in moved)
    assert names == ["chat", "execute_tool", "invoke_agent", "tokenwire.v1.AgentService/StreamRun"]
    assert set(moved.values()) == {3_400_000}


def test_agent_and_model_are_told(tmp_path: Path) -> None:
    """From the spans of the run."""
    trace = trace_of(tmp_path, make_stream(5, agent="portfolio"))
    assert (trace.agent, trace.model) == ("portfolio", "small-1")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5], (5, 5, 5)),
        ([1, 2], (1, 2, 2)),
        (list(range(1, 101)), (50, 99, 100)),
        (list(range(1, 202)), (101, 199, 201)),
    ],
)
def test_quantiles_are_values_that_were_there(values: Sequence[int], expected: tuple[int, ...]) -> None:
    """By the nearest rank."""
    found = spread((value, value) for value in values)
    assert found is not None
    assert (found.p50_ns, found.p99_ns, found.max_ns) == expected


def test_nothing_has_no_spread() -> None:
    """No hop, no numbers."""
    assert spread([]) is None
