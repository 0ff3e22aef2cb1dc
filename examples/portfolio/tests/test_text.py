"""Numbers, tables and words."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire_portfolio.text import long_day, money, percent, speak, split_words, table


@given(st.text())
def test_words_make_up_the_text(text: str) -> None:
    """Joined, the words are the text, and none is empty."""
    assert "".join(split_words(text)) == text
    assert all(split_words(text))


async def test_a_text_is_spoken_word_by_word() -> None:
    """Longer ones too: the turns of the event loop in between change nothing."""
    text = "one two\n\nthree " * 50
    assert [word async for word in speak(text)] == ["one ", "two\n\n", "three "] * 50


@pytest.mark.parametrize(
    ("fraction", "signed", "shown"),
    [
        ("0.01235", False, "1.24 %"),
        ("0.0123", True, "+1.23 %"),
        ("-0.01235", True, "-1.24 %"),
        ("0", True, "0.00 %"),
        ("-0.00001", True, "0.00 %"),
    ],
)
def test_a_fraction_in_percent(fraction: str, shown: str, *, signed: bool) -> None:
    """Two decimals, half away from zero, and no sign at zero."""
    assert percent(Decimal(fraction), signed=signed) == shown


def test_amounts_and_days() -> None:
    """As people write them."""
    assert money(Decimal("1234567.885"), 2) == "1,234,567.89"
    assert money(Decimal("-1234.5"), 0) == "-1,235"
    assert long_day(date(2026, 10, 9)) == "9 October 2026"


def test_a_table_escapes_its_cells() -> None:
    """A cell can't add columns or markup."""
    shown = table(("A", "B"), [("x|y", "<b>*1*")])
    assert shown == "| A | B |\n| --- | ---: |\n| x\\|y | \\<b\\>\\*1\\* |\n"
