"""The file that spans are appended to."""

from __future__ import annotations

import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.otlp import spans_in
from tokenwire.settings import WrongSettingError
from tokenwire.telemetry.trace_file import TraceFileExporter

FULL = Path("/dev/full")


def spans(*names: str) -> tuple[ReadableSpan, ...]:
    """Return finished spans of these names."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for name in names:
        provider.get_tracer("tests").start_span(name, Context()).end()
    return exporter.get_finished_spans()


def names_in(file: Path) -> list[str]:
    return [span.name for span in spans_in(file)]


def test_batches_are_lines_and_what_is_there_stays(tmp_path: Path) -> None:
    """A restarted process goes on where the last one ended."""
    file = tmp_path / "traces.jsonl"
    TraceFileExporter(file).export(spans("a", "b"))
    TraceFileExporter(file).export(spans("c"))
    assert names_in(file) == ["a", "b", "c"]
    assert file.read_bytes().count(b"\n") == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_several_write_one_file(tmp_path: Path) -> None:
    """Each line is one write at the file's end: those of several writers do not mix."""
    file = tmp_path / "traces.jsonl"
    writers = [TraceFileExporter(file) for _ in range(8)]
    batch = spans(*(f"span {number}" for number in range(50)))
    with ThreadPoolExecutor(len(writers)) as pool:
        list(pool.map(lambda writer: [writer.export(batch) for _ in range(20)], writers))
    assert len(names_in(file)) == 8 * 20 * 50


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    """So it can be rotated without a signal."""
    file = tmp_path / "traces.jsonl"
    exporter = TraceFileExporter(file)
    exporter.export(spans("old"))
    file.rename(tmp_path / "traces.1.jsonl")
    exporter.export(spans("new"))
    assert names_in(file) == ["new"]


@pytest.mark.parametrize("place", ["missing/traces.jsonl", "."])
def test_a_path_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    """The operator reads which variable it is, and what is wrong with the path."""
    with pytest.raises(WrongSettingError, match=r"^TOKENWIRE_TRACE_FILE=.*: (No such file|Is a directory)"):
        TraceFileExporter(tmp_path / place)


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_logged_once_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """One line for the outage, whatever was lost in it; exporting fails without an exception."""
    exporter = TraceFileExporter(FULL)
    with caplog.at_level(logging.INFO):
        results = [exporter.export(spans("a")) for _ in range(5)]
    assert set(results) == {SpanExportResult.FAILURE}
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "TOKENWIRE_TRACE_FILE=/dev/full: spans can't be written: No space left on device"


def test_a_line_that_was_cut_short_takes_no_other_one_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that becomes full within a line leaves a torn one; the next one stands alone."""
    file = tmp_path / "traces.jsonl"
    exporter = TraceFileExporter(file)
    write = os.write
    with monkeypatch.context() as patch, caplog.at_level(logging.INFO):
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
        assert exporter.export(spans("torn")) is SpanExportResult.FAILURE
    assert exporter.export(spans("whole")) is SpanExportResult.SUCCESS
    torn, whole = file.read_bytes().splitlines()
    assert torn == b'{"resource'
    file.write_bytes(whole)
    assert names_in(file) == ["whole"]
    away, back = [record.getMessage() for record in caplog.records]
    assert "only 10 of" in away
    assert "are written again after" in back
