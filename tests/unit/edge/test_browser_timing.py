"""What an edge remembers for pages that will report: no more than it may."""

from __future__ import annotations

import pytest

from edge.telemetry import browser_timing
from edge.telemetry.browser_timing import BrowserTiming, WriteTimes
from tokenwire.latency.segments import Segment


def segment(first: int, rows: int) -> Segment:
    """Return a segment whose events were had at their number and written a nanosecond later."""
    had = list(range(first, first + rows))
    return Segment(first, [had, had, had, had, [nano + 1 for nano in had]], replayed=False)


def test_when_events_were_written_is_known_by_their_sequence() -> None:
    """In Unix time."""
    book, times = BrowserTiming(1), WriteTimes(1_000)
    book.remember("a", times)
    times.segment(segment(1, 2))
    times.segment(segment(7, 1))
    assert times.unix_nano() == {1: (1_001, 1_002), 2: (1_002, 1_003), 7: (1_007, 1_008)}


def test_a_stream_that_is_not_remembered_keeps_nothing() -> None:
    """There is nobody who could ask for it."""
    times = WriteTimes(0)
    times.segment(segment(1, 2))
    assert times.unix_nano() == {}


def test_of_too_many_events_the_oldest_streams_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while they go on: an edge must not grow with what pages might report."""
    monkeypatch.setattr(browser_timing, "MAX_ALL_EVENTS", 250)
    book = BrowserTiming(1)
    streams = {name: WriteTimes(0) for name in "abc"}
    for name, times in streams.items():
        book.remember(name, times)
        times.segment(segment(1, 100))
    streams["a"].segment(segment(101, 100))
    assert [times.rows for times in streams.values()] == [100, 100, 100]
    assert [*book._streams] == ["b", "c"]
    assert book._rows == 200


def test_of_too_many_streams_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they have ended or not."""
    monkeypatch.setattr(browser_timing, "MAX_STREAMS", 2)
    book = BrowserTiming(1)
    for name in "abc":
        times = WriteTimes(0)
        book.remember(name, times)
        times.segment(segment(1, 10))
    assert [*book._streams] == ["b", "c"]
    assert book._rows == 20


def test_of_a_long_stream_no_more_is_kept_than_may_be_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest can't be said of anyhow."""
    monkeypatch.setattr(browser_timing, "MAX_EVENTS", 150)
    book, times = BrowserTiming(1), WriteTimes(0)
    book.remember("a", times)
    for number in range(5):
        times.segment(segment(1 + 100 * number, 100))
    assert times.rows == 200


def test_a_stream_counts_as_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many, the oldest are forgotten."""
    monkeypatch.setattr(browser_timing, "MAX_REPORTED", 2)
    book = BrowserTiming(1)
    assert [book.is_new(name) for name in ("a", "a", "b", "c", "c", "a")] == [
        True,
        False,
        True,
        True,
        False,
        True,
    ]
