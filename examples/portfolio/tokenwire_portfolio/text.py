"""Numbers, tables and words as the reader sees them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

BREATH: Final = 32
"""After so many words the event loop gets a turn, so that a long text can be cancelled."""

_WORD: Final = re.compile(r"\S+\s*|\s+")
_ESCAPED: Final = re.compile(r"([\\|*_`\[\]<>#])")


def split_words(text: str) -> list[str]:
    """Return a text's words, each with the white space after it. Joined, they are the text."""
    return _WORD.findall(text)


async def speak(text: str) -> AsyncGenerator[str]:
    """Yield a text word by word, as fast as it is read."""
    for index, word in enumerate(split_words(text)):
        if index % BREATH == 0:
            await asyncio.sleep(0)
        yield word


def money(amount: Decimal, digits: int) -> str:
    """Return an amount with thousands separators.

    Args:
        amount: The amount.
        digits: Decimals; what is cut off is rounded half away from zero.
    """
    return f"{amount.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,}"


def percent(fraction: Decimal, *, signed: bool = False) -> str:
    """Return a fraction in percent with two decimals, rounded half away from zero."""
    rounded = (fraction * 100).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return f"{rounded or abs(rounded):{'+' if signed and rounded else ''}} %"


def long_day(day: date) -> str:
    """Return a day as "9 October 2026"."""
    return f"{day.day} {day:%B %Y}"


def counted(number: int, noun: str) -> str:
    """Return a number of things: "1 portfolio", "6 portfolios"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return a Markdown table.

    Args:
        header: The columns' titles.
        rows: The cells, as plain text.
        left: How many columns stand on the left; the others are numbers, on the right.
    """
    rules = ["---" if index < left else "---:" for index in range(len(header))]
    lines = [header, rules, *([_ESCAPED.sub(r"\\\1", cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
