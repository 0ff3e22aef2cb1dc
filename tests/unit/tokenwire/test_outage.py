"""One line for an outage, one for its end, and one for many that say the same."""

from __future__ import annotations

import logging

import pytest

from tokenwire.outage import MAX_TEXTS, Outage, RepeatFilter, Repeats

logger = logging.getLogger("test.outage")


class Clock:
    """A clock that is set by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged for an operator."""
    return [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]


def test_an_outage_is_two_lines_however_many_tries_fail(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The first says why, the second how long it lasted; the tries in between are at level debug."""
    caplog.set_level(logging.DEBUG)
    outage = Outage(logger, "the store is away", "the store is back", clock_s=clock)
    assert not outage.lasts
    for try_number in range(200):
        outage.begin(f"refused {try_number}")
    assert outage.lasts
    clock.now_s += 12.34
    outage.end("9 streams waited")
    outage.end("it was back already")
    assert lines(caplog) == [
        "the store is away: refused 0",
        "the store is back after 12.3 s; 9 streams waited",
    ]
    assert len(caplog.records) == 201
    assert not outage.lasts


def test_the_next_outage_is_logged_again(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """With a duration of its own."""
    outage = Outage(logger, "away", "back", clock_s=clock)
    for lasts_s in (5.0, 1.0):
        outage.begin()
        clock.now_s += lasts_s
        outage.end()
    assert lines(caplog) == ["away", "back after 5.0 s", "away", "back after 1.0 s"]


def test_an_end_without_an_outage_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """All is well at the start."""
    Outage(logger, "away", "back").end()
    assert lines(caplog) == []


def test_of_many_lines_that_say_the_same_one_a_minute_is_logged(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The next one tells how many were left out."""
    caplog.set_level(logging.DEBUG)
    repeats = Repeats(60.0, clock)
    for client in range(5):
        repeats.log(logger, logging.WARNING, "client %d left", client, run_id="r")
    clock.now_s += 60.0
    repeats.log(logger, logging.WARNING, "client %d left", 5)
    clock.now_s += 60.0
    repeats.log(logger, logging.WARNING, "client %d left", 6)
    assert lines(caplog) == [
        "client 0 left",
        "client 5 left (4 more since the last such line)",
        "client 6 left",
    ]
    assert caplog.records[0].run_id == "r"  # type: ignore[attr-defined]


def test_a_filter_holds_back_what_a_library_says_again_and_again(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of its messages by itself, whatever stands in it; other loggers' lines pass."""
    caplog.handler.addFilter(held := RepeatFilter(("library",), 60.0, clock))
    try:
        noisy, other = logging.getLogger("library.export"), logging.getLogger("other")
        for number in range(3):
            noisy.error("export failed: %d", number)
            noisy.warning("retrying: %d", number)
            other.error("failed")
        clock.now_s += 60.0
        noisy.error("export failed: %d", 3)
    finally:
        caplog.handler.removeFilter(held)
    assert lines(caplog) == [
        "export failed: 0",
        "retrying: 0",
        *["failed"] * 3,
        "export failed: 3 (2 more since the last such line)",
    ]


def test_a_filter_remembers_only_so_many_texts(clock: Clock) -> None:
    """A library that puts numbers into its texts does not fill the memory."""
    held = RepeatFilter(("library",), 60.0, clock)
    for number in range(3 * MAX_TEXTS):
        record = logging.LogRecord("library", logging.ERROR, "", 0, f"export {number} failed", (), None)
        assert held.filter(record)
    assert len(held._repeats) <= MAX_TEXTS
