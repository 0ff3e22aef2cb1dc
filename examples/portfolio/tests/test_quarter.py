"""Calendar quarters."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire_portfolio.quarter import Quarter, find_quarter, full_quarters


@given(st.integers(1, 9000), st.integers(1, 4))
def test_quarters_meet_without_gap(year: int, number: int) -> None:
    """The day after a quarter's last is the next one's first."""
    quarter = Quarter(year, number)
    assert quarter.last + timedelta(days=1) == quarter.next().first
    assert quarter < quarter.next()


@pytest.mark.parametrize(
    ("text", "quarter"),
    [
        ("for Q3 2026", Quarter(2026, 3)),
        ("2026-Q1", Quarter(2026, 1)),
        ("q22026", Quarter(2026, 2)),
        ("the last quarter of 2026", None),
        ("Q5 2026", None),
        ("Q2", None),
        ("Q1 0000", None),
        ("Q1 9999", None),
    ],
)
def test_a_quarter_is_found_in_a_text(text: str, quarter: Quarter | None) -> None:
    """Either order is read; what is no quarter is none."""
    assert find_quarter(text) == quarter


@pytest.mark.parametrize(
    ("text", "quarter"),
    [
        ("Show Q2 performance for my portfolio", Quarter(2026, 2)),
        ("q4?", Quarter(2025, 4)),
        ("Q1", Quarter(2026, 1)),
        ("Q2 2025", Quarter(2025, 2)),
    ],
)
def test_a_quarter_without_a_year_is_the_last_one_that_there_is(text: str, quarter: Quarter) -> None:
    """One that there is not is of the last year, so that the answer can say so."""
    covered = (Quarter(2025, 2), Quarter(2025, 4), Quarter(2026, 2), Quarter(2026, 3))
    assert find_quarter(text, covered) == quarter


@pytest.mark.parametrize(
    ("first", "last", "quarters"),
    [
        (date(2026, 3, 31), date(2026, 10, 9), "Q2 2026, Q3 2026"),
        (date(2026, 3, 31), date(2026, 9, 30), "Q2 2026, Q3 2026"),
        (date(2026, 3, 31), date(2026, 9, 29), "Q2 2026"),
        (date(2026, 4, 1), date(2026, 9, 30), "Q3 2026"),
        (date(2026, 4, 1), date(2026, 6, 30), ""),
        (date(2025, 12, 31), date(2026, 4, 1), "Q1 2026"),
    ],
)
def test_a_full_quarter_has_a_day_before_it_and_its_end(first: date, last: date, quarters: str) -> None:
    """It needs a value to start from and must be over."""
    assert ", ".join(map(str, full_quarters([first, last]))) == quarters


def test_no_data_covers_no_quarter() -> None:
    """An empty table is no error here."""
    assert full_quarters([]) == ()
