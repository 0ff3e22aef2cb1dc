import pytest

from tests.support.otlp_lines import START_NS
from tokenwire.traces.words import clock_time, duration, listing, since


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 µs"), (999, "1 µs"), (17_400, "17 µs"), (999_400, "999 µs"), (999_600, "1.00 ms"),
        (1_234_567, "1.23 ms"), (12_345_678, "12.3 ms"), (812_000_000, "812 ms"), (999_600_000, "1.00 s"),
        (1_500_000_000, "1.50 s"), (100_878_000_000, "101 s"), (185_000_000_000, "3 min 5 s"),
        (-10_000, "-10 µs"),
        (-480, "0 µs"),
    ],
)  # fmt: skip
def test_a_duration_has_the_digits_that_count(ns: int, text: str) -> None:
    """And the unit that suits it."""
    assert duration(ns) == text


def test_times_are_told_to_the_millisecond() -> None:
    """Since the start, and in UTC."""
    assert since(1_234_567_890_123) == "1,234.568 s"
    assert clock_time(START_NS) == "2026-11-18 11:06:40.123Z"


def test_a_listing_leaves_out_what_is_empty() -> None:
    """No stray commas."""
    assert listing(("a", "", "b")) == "a, b"
