"""A recorder that has a fault costs its stream nothing, and the log one line."""

from __future__ import annotations

import logging
from typing import NoReturn

import pytest
from opentelemetry.trace import INVALID_SPAN, INVALID_SPAN_CONTEXT, SpanContext

from tokenwire.latency import Hop
from tokenwire.latency.segments import MAX_ROWS, Segment
from tokenwire.latency.series import DELTA, Stall
from tokenwire.telemetry import lost_spans
from tokenwire.telemetry.settings import TelemetrySettings
from tokenwire.telemetry.token_recorder import TokenRecorder


class Facts:
    """A stream."""

    run_id = "k7q2"

    def owner_of(self, _: Hop) -> SpanContext:
        return INVALID_SPAN_CONTEXT

    def cause_of(self, _: Stall) -> str:
        return ""

    def clock_attributes(self) -> dict[str, str]:
        return {}


def fail(_: Segment) -> NoReturn:
    """Stand for a fault of ours, at every segment."""
    raise RuntimeError("a fault")


def test_a_fault_is_told_once_and_keeps_no_rows(caplog: pytest.LogCaptureFixture) -> None:
    """However long the stream goes on: no line and no memory for each token."""
    recorder = TokenRecorder(
        TelemetrySettings(), INVALID_SPAN, Facts(), began_nano=0, wall_offset_nano=0, starts=True
    )
    recorder.series.also_to(fail)
    before = lost_spans()["recorder_failed"]
    recorder.begin()
    with caplog.at_level(logging.ERROR):
        for sequence in range(1, 5 * MAX_ROWS):
            recorder.series.add((sequence, DELTA, sequence, sequence, sequence, sequence))
            recorder.series.take()
            recorder.written(sequence)
            assert recorder.series.waiting == 0
        recorder.end("completed", 10**6, "model")
    assert [record.getMessage() for record in caplog.records] == [
        "the tokens of run k7q2 can't be recorded: this is a bug"
    ]
    assert len(recorder.series._rows) <= MAX_ROWS
    assert lost_spans()["recorder_failed"] == before + 1
