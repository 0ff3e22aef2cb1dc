"""Counting: buckets, labels, exemplars."""

from __future__ import annotations

import threading
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.telemetry.metrics import Exemplar, Home
from tokenwire.telemetry.metrics.series import BUFFERED, MAX_SERIES, OTHER, HistogramPoint

BOUNDS_S = (0.001, 0.01, 0.1)
BOUNDS_NANO = (1_000_000, 10_000_000, 100_000_000)


def exemplar(value: float) -> Exemplar:
    return Exemplar("ab" * 16, "cd" * 8, 117, value, 1_700_000_000_000_000_000)


@given(st.lists(st.integers(0, 200_000_000), max_size=300))
def test_values_are_counted_together_as_they_are_one_by_one(values: list[int]) -> None:
    """Sorting them and looking each bound up is only faster than looking up each value."""
    histogram = Home().histogram("h", "", bounds_s=BOUNDS_S)
    histogram.observe_many_nano(values)
    expected = [0] * 4
    for value in values:
        expected[bisect_left(BOUNDS_NANO, value)] += 1
    if values:
        point = histogram.points()[()]
        assert (point.counts, point.total_nano) == (expected, sum(values))
        assert (point.min_nano, point.max_nano) == (min(values), max(values))
    else:
        assert not histogram.points()


@pytest.mark.parametrize("bound", range(3))
def test_a_bound_is_in_its_own_bucket(bound: int) -> None:
    """Upper bounds are inclusive, in Prometheus and in OTLP."""
    histogram = Home().histogram("h", "", bounds_s=BOUNDS_S)
    histogram.observe(BOUNDS_S[bound])
    assert histogram.points()[()].counts.index(1) == bound


def test_an_exemplar_is_kept_with_the_bucket_of_its_value() -> None:
    """The last one of each: a stall is not hidden by a short gap that comes later."""
    histogram = Home().histogram("h", "", bounds_s=BOUNDS_S)
    for value in (0.5, 0.002, 0.003):
        histogram.observe(value, exemplar=exemplar(value))
    assert histogram.points()[()].exemplars == {3: exemplar(0.5), 1: exemplar(0.003)}


def test_a_counter_keeps_its_last_exemplar() -> None:
    """What is counted without one later leaves it there."""
    counter = Home().counter("c", "", unit="{stall}", labels={"hop": ()})
    counter.add(1, "link", exemplar=exemplar(0.5))
    counter.add(2, "link")
    point = counter.points()["link",]
    assert (point.value, point.exemplar) == (3, exemplar(0.5))


def test_a_gauge_goes_up_and_down() -> None:
    """It shows what is there now."""
    gauge = Home().gauge("g", "", unit="{stream}")
    gauge.add(1)
    gauge.add(1)
    gauge.add(-1)
    assert gauge.points()[()].value == 1


def test_a_function_is_asked_at_each_reading() -> None:
    """Nobody has to write what is known elsewhere."""
    numbers = iter((1.0, 2.0))
    gauge = Home().gauge("g", "", unit="{item}")
    gauge.set_function(lambda: next(numbers))
    assert [gauge.points()[()].value for _ in range(2)] == [1.0, 2.0]


def test_a_counter_reads_numbers_with_labels_from_elsewhere() -> None:
    """Beside those that it has counted itself."""
    counter = Home().counter("c", "", unit="{span}", labels={"reason": ("a", "b")})
    counter.add(1, "a")
    counter.read_from(lambda: {("b",): 2.0})
    assert {key: point.value for key, point in counter.points().items()} == {("a",): 1, ("b",): 2.0}


def test_a_buffer_is_counted_before_anybody_reads() -> None:
    """No value is missing from a scrape because its buffer was not full."""
    histogram = Home().histogram("h", "", bounds_s=BOUNDS_S, labels={"store": ()})
    for _ in range(BUFFERED + 1):
        histogram.buffer("sqlite").add_nano(1)
    assert histogram.points()["sqlite",].counts == [BUFFERED + 1, 0, 0, 0]


def test_a_full_buffer_is_counted() -> None:
    """Without a scraper it would grow for ever."""
    histogram = Home().histogram("h", "", bounds_s=BOUNDS_S)
    buffer = histogram.buffer()
    for _ in range(BUFFERED):
        buffer.add_nano(1)
    assert not buffer._values


def test_a_copy_does_not_change() -> None:
    """An export that takes a while shows the numbers of one moment."""
    histogram = Home().histogram("h", "", bounds_s=BOUNDS_S)
    histogram.observe(0.5)
    before = histogram.points()[()]
    histogram.observe(0.5, exemplar=exemplar(0.5))
    assert before == HistogramPoint([0, 0, 0, 1], 500_000_000, 500_000_000, 500_000_000, {})


def test_labels_are_given_in_full() -> None:
    """A series with other labels than those declared would be no series of this instrument."""
    counter = Home().counter("c", "", unit="{stall}", labels={"hop": ()})
    with pytest.raises(ValueError, match="c has 1 labels, not 0"):
        counter.add(1)


def test_the_number_of_series_is_bounded() -> None:
    """Names that come from outside can fill neither the memory nor the page: the rest is counted as one."""
    counter = Home().counter("c", "", unit="{call}", labels={"model": ()})
    for number in range(MAX_SERIES + 5):
        counter.add(1, f"model-{number}")
    points = counter.points()
    assert len(points) == MAX_SERIES + 1
    assert points[OTHER,].value == 5


def test_no_value_is_lost_between_threads() -> None:
    """SQLite's store counts in threads of its own."""
    histogram = Home().histogram("h", "", bounds_s=BOUNDS_S)

    def observe() -> None:
        for _ in range(2_000):
            histogram.observe_many_nano((1,))

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert histogram.points()[()].counts[0] == 8_000
