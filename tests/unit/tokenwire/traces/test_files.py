from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from tests.support.otlp_lines import (
    MS,
    START_NS,
    Made,
    Plant,
    make_direct,
    make_follow,
    make_stream,
    write_lines,
)
from tokenwire.traces.errors import AmbiguousError, NotFoundError
from tokenwire.traces.files import UNFINISHED, TraceFiles
from tokenwire.traces.source import Candidate, Found, choose

STALL = Plant(200, "model", 900)


@pytest.fixture(scope="module")
def run() -> Made:
    return make_stream(300, [STALL], name="run")


@pytest.fixture(scope="module")
def follow(run: Made) -> Made:
    return make_follow(run, 150, 20, start_ns=run.stamps["write"][170] - 5 * MS)


@pytest.fixture
def source(tmp_path: Path, run: Made, follow: Made) -> TraceFiles:
    """Two files: what the follow's edge wrote is older by the clock of the file system."""
    other = make_stream(40, name="other", start_ns=START_NS + 10**12)
    paths = [write_lines(tmp_path / "a.jsonl", follow), write_lines(tmp_path / "b.jsonl", run, other)]
    return TraceFiles(paths, pytest.fail)


def find(source: TraceFiles, wanted: str) -> Found:
    return source.trace(choose(wanted, source.candidates(wanted)))


def test_a_trace_is_found_by_its_id_whole_or_shortened(source: TraceFiles, run: Made) -> None:
    """Upper case too."""
    for wanted in (run.id, run.id[:10], run.id[:10].upper()):
        found = find(source, wanted)
        assert found.trace_id == run.id
        assert len(found.spans) == len(run.spans)


def test_a_run_id_means_the_runs_own_trace_and_lists_its_follows(
    source: TraceFiles, run: Made, follow: Made
) -> None:
    """The own one is that which has the agent, wherever the files stand."""
    for wanted in (run.run_id, run.run_id[:12]):
        found = find(source, wanted)
        assert found.trace_id == run.id
        (other,) = found.others
        assert (other.trace_id, other.route) == (follow.id, "GET /api/runs/{runId}/events")


def test_a_follow_lists_the_runs_own_stream_and_has_its_stalls_in_the_core(
    source: TraceFiles, run: Made, follow: Made
) -> None:
    """Stalls in `model`, `log` and `send` are spans of the run's trace, which the follow links to."""
    found = find(source, follow.id)
    assert [other.trace_id for other in found.others] == [run.id]
    assert [span.name for span in found.spans if span.trace_id != follow.id] == ["stall model"]


def test_an_ambiguous_id_is_told_with_what_it_may_mean(tmp_path: Path) -> None:
    """Traces by their ids, runs by theirs; some, if they are many."""
    streams = [make_stream(2, name=str(i), with_root=True) for i in range(40)]
    source = TraceFiles([write_lines(tmp_path / "s.jsonl", *streams)], pytest.fail)
    first = streams[0].id[0]
    alike = [stream.id for stream in streams if stream.id.startswith(first)]
    assert len(alike) > 1, "the seed gives several"
    with pytest.raises(AmbiguousError, match=f"^{first} may mean {alike[0]}, .*: give more of it$"):
        choose(first, source.candidates(first))
    with pytest.raises(AmbiguousError, match=r" and 3 more: "):
        choose("a", {f"a{i:031}": Candidate(f"a{i:031}") for i in range(11)})


def test_what_is_nowhere_is_told(source: TraceFiles) -> None:
    """Whatever it was."""
    with pytest.raises(NotFoundError, match="no trace or run nosuch here"):
        find(source, "nosuch")


def test_the_list_has_the_newest_first_and_no_more_than_asked(
    source: TraceFiles, run: Made, follow: Made
) -> None:
    """By the time at which they began."""
    heads = source.newest(10)
    assert [head.tokens for head in heads] == [39, 149, 299]
    assert [head.trace_id for head in heads[1:]] == [follow.id, run.id]
    assert heads[:2] == source.newest(2)
    assert (heads[2].run_id, heads[2].outcome, heads[2].stalls) == (run.run_id, "completed", 1)


def test_a_stream_whose_root_was_never_written_is_listed(tmp_path: Path) -> None:
    """Its edge was killed: the segments that it had sent tell of it; those of the page count nothing."""
    killed = make_stream(300, with_root=False, browser=True)
    source = TraceFiles([write_lines(tmp_path / "s.jsonl", killed)], pytest.fail)
    (head,) = source.newest(5)
    assert (head.trace_id, head.outcome, head.tokens) == (killed.id, UNFINISHED, 300)
    assert head.run_id == killed.run_id


def test_a_direct_callers_stream_is_listed(tmp_path: Path) -> None:
    """Its root is the core's rpc span, and its outcome the rpc's."""
    direct = make_direct()
    (head,) = TraceFiles([write_lines(tmp_path / "s.jsonl", direct)], pytest.fail).newest(5)
    assert (head.trace_id, head.route) == (direct.id, "tokenwire.v1.AgentService/StreamRun")
    assert head.outcome == "OK"


def test_memory_holds_the_wanted_trace_alone(tmp_path: Path) -> None:
    """Of a file of 60 streams, the spans of one: far less than the file."""
    streams = [make_stream(1_000, name=str(i), start_ns=START_NS + i) for i in range(60)]
    path = write_lines(tmp_path / "s.jsonl", *streams)
    source = TraceFiles([path], pytest.fail)
    size, wanted = path.stat().st_size, streams[30].id
    del streams
    tracemalloc.start()
    try:
        found = find(source, wanted)
        source.newest(3)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.spans) > 10
    assert peak < size / 4


def test_a_note_is_told_once_though_files_are_read_twice(tmp_path: Path, run: Made) -> None:
    """The line that was cut short."""
    path = write_lines(tmp_path / "s.jsonl", run)
    with path.open("a") as file:
        file.write('{"resourceSpans":[{')
    notes: list[str] = []
    assert find(TraceFiles([path], notes.append), run.id).trace_id == run.id
    assert len(notes) == 1
