"""Calendar quarters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple

_TEXT: Final = re.compile(
    r"\bq([1-4])[\s/-]*(\d{4})\b|\b(\d{4})[\s/-]*q([1-4])\b|\bq([1-4])\b", re.IGNORECASE | re.ASCII
)


class Quarter(NamedTuple):
    """A quarter of a year. Quarters compare as time goes by."""

    year: int
    number: int
    """1 to 4."""

    def __str__(self) -> str:
        return f"Q{self.number} {self.year}"

    @property
    def first(self) -> date:
        """The quarter's first day."""
        return date(self.year, 3 * self.number - 2, 1)

    @property
    def last(self) -> date:
        """The quarter's last day."""
        return self.next().first - timedelta(days=1)

    def next(self) -> Quarter:
        """Return the quarter after this one."""
        return Quarter(self.year + self.number // 4, self.number % 4 + 1)


def find_quarter(text: str, covered: Sequence[Quarter] = ()) -> Quarter | None:
    """Return the quarter that a text names, as "Q3 2026", "2026-Q3" or "Q3".

    Args:
        text: Any text.
        covered: The quarters that there are, oldest first. One without a year is the last of them, or of the
            same year as the last of them.
    """
    found = _TEXT.search(text)
    if found is None:
        return None
    number, year, other_year, other_number, alone = found.groups()
    if alone:
        same = [quarter for quarter in covered if quarter.number == int(alone)]
        return same[-1] if same else covered[-1]._replace(number=int(alone)) if covered else None
    quarter = Quarter(int(year or other_year), int(number or other_number))
    return quarter if date.min.year <= quarter.year < date.max.year else None


def full_quarters(days: Sequence[date]) -> tuple[Quarter, ...]:
    """Return the quarters that the data covers, oldest first.

    One is covered when there is a trading day before it, to start from, and the data goes on at
    least until its last calendar day.

    Args:
        days: The trading days, ascending.
    """
    if not days:
        return ()
    quarters = []
    quarter = Quarter(days[0].year, (days[0].month + 2) // 3)
    while quarter.last <= days[-1]:
        if days[0] < quarter.first:
            quarters.append(quarter)
        quarter = quarter.next()
    return tuple(quarters)
