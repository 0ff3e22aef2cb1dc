from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.support.otlp_lines import Made, Plant, make_follow, make_stream, write_lines
from tokenwire.latency.stages import HOPS
from tokenwire.traces.files import TraceFiles
from tokenwire.traces.overview import list_lines, trace_lines
from tokenwire.traces.rows import Clock, Row, Segment, rows_of
from tokenwire.traces.source import choose
from tokenwire.traces.streams import Stream, Trace, assemble
from tokenwire.traces.waterfall import MARKS, STYLES, bar, interesting, waterfall

PLANTS = [Plant(1_117, "link", 812, "edge_loop", behind=40), Plant(2_900, "model", 1_200)]
US = 1_000


def trace_of(folder: Path, wanted: Made, *others: Made) -> Trace:
    source = TraceFiles([write_lines(folder / "s.jsonl", wanted, *others)], pytest.fail)
    return assemble(source.trace(choose(wanted.id, source.candidates(wanted.id))))


def lines_of(trace: Trace, width: int = 110, *, show_all: bool = False) -> list[str]:
    return [line.plain for line in trace_lines(trace, width, show_all=show_all)]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return trace_of(tmp_path_factory.mktemp("long"), make_stream(5_000, PLANTS))


def row_line(lines: list[str], sequence: int) -> str:
    (line,) = [line for line in lines if line.split(maxsplit=1)[:1] == [f"{sequence:,}"]]
    return line


def test_each_stall_is_on_one_line(long: Trace) -> None:
    """Sequence, hop, time, what was behind it and the cause."""
    lines = lines_of(long)
    assert "stall: token 1117, link, 812 ms, 40 behind, cause edge_loop" in lines
    assert "stall: token 2900, model, 1.20 s" in lines


def test_a_stalls_row_is_marked_and_its_bar_is_of_its_hop(long: Trace) -> None:
    """Most marks of the row are that hop's."""
    lines = lines_of(long)
    link, model = row_line(lines, 1_117), row_line(lines, 2_900)
    assert "◄ stall link, 812 ms, 40 behind, cause edge_loop" in link
    assert link.count("=") > 20
    assert "◄ stall model, 1.20 s" in model
    assert model.count("m") > 30


def test_only_rows_of_interest_are_shown_and_the_others_are_counted(long: Trace) -> None:
    """No token is lost: shown and elided ones make 5,000."""
    (stream,) = long.streams
    lines = [line.plain for line in waterfall(stream, 110, show_all=False)]
    elided = [int(line.split()[1].replace(",", "")) for line in lines if line.startswith("  … ")]
    shown = len(lines) - 1 - len(elided)
    assert shown + sum(elided) == 5_000
    assert shown < 40
    assert all("gaps ≤ 2" in line for line in lines if line.startswith("  … "))
    picked = {stream.rows[i].sequence for i in interesting(stream)}
    assert {1, 2, 3, 1_115, 1_116, 1_117, 1_118, 1_119, 2_900, 4_999, 5_000} <= picked


def test_all_rows_are_shown_when_asked(long: Trace) -> None:
    """One line each, below the titles."""
    (stream,) = long.streams
    assert len(list(waterfall(stream, 110, show_all=True))) == 5_001


def test_the_widths_of_the_terminal_are_kept(long: Trace) -> None:
    """The waterfall's rows fit, as long as a bar has its least room."""
    (stream,) = long.streams
    for width in (100, 120, 200):
        longest = max(cell_len(line.plain) for line in waterfall(stream, width, show_all=False))
        assert width - 12 <= longest <= width


def test_all_hops_are_named_with_marks_that_differ() -> None:
    """It reads without colours; with them each hop has its own as well."""
    assert tuple(MARKS) == HOPS
    assert len(set(MARKS.values())) == len(set(STYLES.values())) == len(HOPS)


def test_the_summary_names_each_hop_and_its_slowest_token(long: Trace) -> None:
    """Also one that no stamp tells of."""
    lines = lines_of(long)
    begin = next(i for i, line in enumerate(lines) if line.split()[:2] == ["hop", "count"])
    cells = [line.split() for line in lines[begin + 1 : begin + 8]]
    assert [cell[1] if len(cell[0]) == 1 else cell[0] for cell in cells] == [*HOPS, "gap"]
    assert (cells[3][-1], cells[0][-1]) == ("1,117", "2,900")
    assert cells[5][2:] == ["-"] * 5


def test_a_bar_has_a_mark_for_each_share_of_time() -> None:
    """Ten microseconds a mark; hops too short for one leave theirs to the others."""
    segment = Segment(1, 1, 0, {"model": [40], "logged": [41], "send": [43], "recv": [73], "write": [76]})
    (row,) = rows_of([segment], 0)
    assert bar(row, 10 * US).plain == "mmmm===w"
    assert bar(row, 1_000 * US).plain == "m"
    assert not bar(Row(1), 1).plain


def test_replayed_rows_and_rows_of_one_write_are_told(tmp_path: Path) -> None:
    """The row where it meets the live stream is shown."""
    run = make_stream(300, name="run")
    trace = trace_of(tmp_path, make_follow(run, 90, 60, start_ns=run.stamps["write"][149] - 1), run)
    lines = lines_of(trace)
    assert row_line(lines, 91).endswith("replayed, one write of 60")
    assert row_line(lines, 150).endswith("replayed, one write of 60")
    assert "replayed" not in row_line(lines, 151)
    assert any(line.startswith("  … ") and line.endswith("54 of them replayed") for line in lines)
    assert "  outcome client_disconnect, 209 tokens, 210 rows, 60 of them replayed, " in "\n".join(lines)
    assert lines[lines.index("Other streams of this run:") + 2].split()[2] == run.id[:12]


def test_a_skewed_clock_is_told_with_its_error(tmp_path: Path) -> None:
    """And that the numbers are corrected by it."""
    clock = {
        "tokenwire.clock.offset_us": 3_400,
        "tokenwire.clock.error_us": 210,
        "tokenwire.clock.method": "bounds",
    }
    text = "\n".join(lines_of(trace_of(tmp_path, make_stream(20, offset_ns=3_300_000, clock=clock))))
    assert "the edge's is 3.40 ms ahead of the core's, ± 210 µs (bounds)" in text
    assert "corrected by it, stamps are not" in text
    assert next(line for line in text.splitlines() if line.startswith(" =  link")).endswith("± 210 µs")


def test_a_clock_of_which_nothing_is_known_is_told(tmp_path: Path) -> None:
    """No offset is made up for it."""
    made = make_stream(20, offset_ns=-3_300_000, clock={"tokenwire.clock.method": "none"})
    text = "\n".join(lines_of(trace_of(tmp_path, made)))
    assert "how far the core's is off is not known" in text
    assert "± 0" not in text
    assert next(line for line in text.splitlines() if line.startswith(" =  link")).endswith("± unknown")
    assert re.search(r"link -3\.\d\d ms ± unknown", text)


def test_a_pages_clock_is_told_with_its_error(tmp_path: Path) -> None:
    """Beside its hop and in the head."""
    clock = {
        "tokenwire.clock.offset_us": -80,
        "tokenwire.clock.error_us": 90,
        "tokenwire.clock.method": "bounds",
    }
    lines = lines_of(trace_of(tmp_path, make_stream(20, browser=True, page_clock=clock)))
    assert any("the edge's is 80 µs behind the page's, ± 90 µs (bounds)" in line for line in lines)
    assert next(line for line in lines if line.startswith(" b  browser")).endswith("± 90 µs")
    assert "±" not in next(line for line in lines if line.startswith(" =  link"))


def test_a_negative_hop_is_shown_beside_the_error() -> None:
    """It has no mark, and is not hidden."""
    stages = {"model": [0, 9], "logged": [0, 9], "send": [0, 9], "recv": [490, 520], "write": [500, 530]}
    rows = rows_of([Segment(1, 2, 0, stages, clock=Clock(500, 30, "bounds"))])  # type: ignore[arg-type]
    lines = [line.plain for line in waterfall(Stream("s", None, 0, rows), 100, show_all=True)]
    assert lines[1].endswith("link -10 µs ± 30 µs")
    assert "±" not in lines[2]


def test_tokens_without_a_row_are_told(tmp_path: Path) -> None:
    """A gap in the sequences is no gap in time."""
    made = make_stream(300)
    lost = next(
        span
        for _, span in made.spans
        if span.name == "tokens" and any(a.value.int_value == 129 for a in span.attributes)
    )
    made.spans = [(service, span) for service, span in made.spans if span is not lost]
    assert "  … 128 tokens have no row" in lines_of(trace_of(tmp_path, made))


def test_an_open_stall_is_told_below_the_last_row(tmp_path: Path) -> None:
    """Its token has no row: it was never written."""
    made = make_stream(60, [Plant(61, "write", 5_000, is_open=True)], outcome="client_disconnect")
    lines = lines_of(trace_of(tmp_path, made))
    assert "stall: token 61, write, 5.00 s, open when the stream ended" in lines
    assert "token 61 was not written: stall write, 5.00 s, open when the stream ended" in lines


def test_a_stream_without_root_or_tokens_says_so(tmp_path: Path) -> None:
    """What is not there is not made up."""
    killed = "\n".join(lines_of(trace_of(tmp_path, make_stream(60, with_root=False))))
    assert "its process was killed" in killed
    assert "(its parent is not here)" in killed
    bare = make_stream(10)
    bare.spans = [(service, span) for service, span in bare.spans if span.name != "tokens"]
    assert "No tokens in this stream's spans" in "\n".join(lines_of(trace_of(tmp_path, bare)))
    bare.spans = [(service, span) for service, span in bare.spans if span.name.startswith("chat")]
    assert "No stream in this trace: no span has tokens." in lines_of(trace_of(tmp_path, bare))


def test_many_children_of_one_name_are_cut(tmp_path: Path) -> None:
    """The tree stays short, and says how many there were; segments are one line."""
    made = make_stream(300, [Plant(10 + i, "write", 300) for i in range(20)])
    lines = lines_of(trace_of(tmp_path, made))
    assert sum("─ stall write" in line for line in lines) == 6
    assert any(line.endswith("… 14 more stall write") for line in lines)
    assert any(line.endswith("tokens, 3 spans") for line in lines)


def test_why_a_stream_was_kept_is_told(tmp_path: Path) -> None:
    """The sampler had not chosen it."""
    made = make_stream(10, clock={"tokenwire.sampled": "stall"})
    assert "  kept for its stall, though the sampler had not chosen it" in lines_of(trace_of(tmp_path, made))


def test_colours_are_left_out_where_they_must_be(long: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR keeps the marks; a pipe gets plain text."""
    (line,) = [line for line in trace_lines(long, 110, show_all=False) if line.plain.startswith("hops")]

    def printed(*, terminal: bool) -> str:
        file = io.StringIO()
        Console(file=file, force_terminal=terminal, color_system="truecolor" if terminal else None).print(
            line
        )
        return file.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[30;44m m " in printed(terminal=True)
    assert "\x1b" not in printed(terminal=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed(terminal=True)


def test_a_list_is_aligned_and_shortens_ids(tmp_path: Path) -> None:
    """A line for each stream, what is not known as a dash."""
    whole, killed = make_stream(30, name="a"), make_stream(30, name="b", with_root=False)
    source = TraceFiles([write_lines(tmp_path / "s.jsonl", whole, killed)], pytest.fail)
    titles, *lines = [line.plain for line in list_lines(source.newest(5))]
    assert titles.split()[:6] == ["time", "trace", "run", "route", "outcome", "tokens"]
    told = {line.split()[2]: line for line in lines}
    assert told[whole.id[:12]].split()[3:7] == [whole.run_id[:12], "POST", "/api/chat", "completed"]
    assert told[killed.id[:12]].split()[3:6] == [killed.run_id[:12], "-", "unfinished"]
