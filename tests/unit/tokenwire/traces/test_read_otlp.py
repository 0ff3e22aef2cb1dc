from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from tests.support.otlp_lines import EDGE, Made, lines_of, make_stream, write_lines
from tests.support.otlp_messages import line_of, request, span
from tokenwire.traces.errors import UnreadableError
from tokenwire.traces.read_otlp import files_of, read_file, with_rotated
from tokenwire.traces.spans import Span

IDS = (b"\x01" * 16, b"\x02" * 8)


@pytest.fixture(scope="module")
def made() -> Made:
    return make_stream(300)


def spans_of(path: Path, notes: list[str] | None = None) -> list[Span]:
    told: list[str] = []
    found = list(read_file(path, lambda *_: True, (told if notes is None else notes).append))
    assert notes is not None or not told
    return found


def one_span(path: Path, line: str) -> Span:
    path.write_text(line)
    (found,) = spans_of(path)
    return found


def test_each_span_of_otlps_own_classes_is_read(tmp_path: Path, made: Made) -> None:
    """Ids, times, kinds, attributes of each type, and which process it was."""
    found = spans_of(write_lines(tmp_path / "spans.jsonl", made))
    assert len(found) == len(made.spans)
    by_id = {each.span_id: each for each in found}
    for service, written in made.spans:
        read = by_id[written.span_id.hex()]
        assert (read.trace_id, read.parent_id) == (made.id, written.parent_span_id.hex())
        assert (read.name, read.service) == (written.name, service)
        assert (read.start_ns, read.end_ns) == (written.start_time_unix_nano, written.end_time_unix_nano)
        assert read.attributes.keys() == {each.key for each in written.attributes}
    root = by_id[made.root_id.hex()]
    assert root.kind == "server"
    assert root.attributes["tokenwire.stream.tokens"] == 299
    assert isinstance(root.attributes["tokenwire.stream.ttft_ms"], float)


def test_attributes_of_each_kind_are_read(tmp_path: Path) -> None:
    """Whole numbers are text in JSON, beyond what a double holds."""
    attributes = {"text": "a", "whole": 2**62 + 1, "part": 0.5, "yes": True, "list": [1, "b"]}
    read = one_span(tmp_path / "s.jsonl", line_of(request(EDGE, [span(*IDS, "x", (1, 2), attributes)])))
    assert read.attributes == attributes


def test_what_others_write_is_read_as_well(tmp_path: Path) -> None:
    """Numbers as numbers, enums by name, upper case ids, links, nested attributes, fields of a later time."""
    content = {
        "traceId": "AB" * 16,
        "spanId": "CD" * 8,
        "kind": "SPAN_KIND_CLIENT",
        "startTimeUnixNano": 5,
        "endTimeUnixNano": "9",
        "status": {"code": "STATUS_CODE_ERROR", "message": "m"},
        "links": [{"traceId": "EF" * 16, "spanId": "01" * 8}],
        "attributes": [
            {"key": "k", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": 1}}]}}},
            {"key": "empty", "value": {}},
        ],
    }
    scopes = [{"scope": {"name": "s"}, "spans": [content]}]
    line = json.dumps({"resourceSpans": [{"resource": {}, "later": 1, "scopeSpans": scopes}]})
    read = one_span(tmp_path / "s.jsonl", line + "\n")
    assert (read.trace_id, read.span_id, read.links) == ("ab" * 16, "cd" * 8, ("ef" * 16,))
    assert (read.kind, read.status, read.start_ns, read.end_ns) == ("client", "error", 5, 9)
    assert read.attributes == {"k": {"a": 1}, "empty": None}


def test_a_last_line_that_is_cut_short_is_skipped_with_a_note(tmp_path: Path, made: Made) -> None:
    """A process was killed while it wrote; wherever the cut is, the lines before it count."""
    *whole, last = lines_of(made)
    expected = sum(line.count('"spanId"') for line in whole)
    for cut in (1, 40, len(last) // 2, len(last) - 2):
        path = tmp_path / "spans.jsonl"
        path.write_text("".join(whole) + last[:cut])
        notes: list[str] = []
        assert len(spans_of(path, notes)) == expected
        assert notes == [f"{path}:{len(whole) + 1}: skipped, the line is cut short"]


def test_what_another_process_appended_to_a_cut_line_is_read(tmp_path: Path, made: Made) -> None:
    """The killed one left no line end: both stand in one line."""
    first, second, *_ = lines_of(made)
    path = tmp_path / "spans.jsonl"
    path.write_text(first[:50] + second)
    notes: list[str] = []
    assert len(spans_of(path, notes)) == second.count('"spanId"')
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("hello\n", "not an OTLP/JSON request: JSON is malformed"),
        ("[1]\n", "not an OTLP/JSON request: Expected `object`"),
        ('{"a":1}\n', "it has no resourceSpans"),
        ('{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":7,"spanId":"a"}]}]}]}\n', "Expected `str`"),
        (
            '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"AQE=","spanId":"a"}]}]}]}\n',
            "'AQE=' is not 32",
        ),
    ],
)
def test_any_other_line_is_told_with_its_place(tmp_path: Path, line: str, complaint: str) -> None:
    """One line that names file, line and reason."""
    path = tmp_path / "spans.jsonl"
    path.write_text("{}\n\n" + line + "{}\n")
    with pytest.raises(UnreadableError) as caught:
        spans_of(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_signals_of_a_collectors_file_are_passed_over(tmp_path: Path) -> None:
    """One file may hold metrics and logs besides."""
    path = tmp_path / "all.jsonl"
    path.write_text('{"resourceMetrics":[{}]}\n{"resourceLogs":[]}\n{}\n')
    assert spans_of(path) == []


def test_unwanted_spans_are_never_built(tmp_path: Path, made: Made) -> None:
    """What decides sees trace id, name and the attributes as they stand in the file."""
    path = write_lines(tmp_path / "spans.jsonl", made)
    found = read_file(
        path, lambda trace, name, raw: trace == made.id and name == "tokens" and b"t0" in raw, print
    )
    assert {each.name for each in found} == {"tokens"}


def test_a_packed_file_is_unpacked(tmp_path: Path, made: Made) -> None:
    """As rotation leaves it; one that is broken is told."""
    path = tmp_path / "spans.jsonl.2.gz"
    path.write_bytes(gzip.compress("".join(lines_of(made)).encode()))
    assert len(spans_of(path)) == len(made.spans)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UnreadableError, match=r"spans\.jsonl\.2\.gz"):
        spans_of(path)
    path.write_bytes(b"no gzip")
    with pytest.raises(UnreadableError, match=r"[Nn]ot a gzipped file"):
        spans_of(path)


def touch(folder: Path, *files: str) -> list[Path]:
    paths = [folder / name for name in files]
    for age, path in enumerate(paths):
        path.write_text("{}\n")
        os.utime(path, (1_000 + age, 1_000 + age))
    return paths


def test_a_folder_gives_its_files_the_oldest_first(tmp_path: Path) -> None:
    """Those of OTLP/JSON lines and what was rotated from them; no hidden and no other ones."""
    wanted = touch(
        tmp_path, "b.jsonl.2.gz", "b.jsonl.1", "a-2026-11-28T03-46-33.123.jsonl", "b.jsonl", "c.json"
    )
    touch(tmp_path, ".hidden.jsonl", "notes.txt")
    (tmp_path / "below.jsonl").mkdir()
    assert files_of([tmp_path, wanted[3]]) == wanted


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    """A missing file, and a folder without one."""
    with pytest.raises(UnreadableError, match="no such file or folder"):
        files_of([tmp_path / "none.jsonl"])
    with pytest.raises(UnreadableError, match="no file of OTLP/JSON lines"):
        files_of([tmp_path])


def test_a_files_rotated_siblings_belong_to_it(tmp_path: Path) -> None:
    """Whichever way it was rotated; another file beside it is another file."""
    *rotated, path = touch(tmp_path, "s.jsonl.2.gz", "s.jsonl.1", "s-2026-11-28.jsonl", "s.jsonl")
    touch(tmp_path, "s-old.jsonl", "other.jsonl")
    assert with_rotated(path) == [*rotated, path]
    path.unlink()
    assert with_rotated(path) == rotated
    assert with_rotated(tmp_path / "none" / "x.jsonl") == [tmp_path / "none" / "x.jsonl"]
