"""Pairs of a principal and a name that are easily taken for one another."""

from __future__ import annotations

from typing import TypeAlias

from hypothesis import strategies as st

Pair: TypeAlias = tuple[str, str]

_PARTS = st.lists(st.text("an\0:", max_size=2), min_size=3, max_size=4)


@st.composite
def confusable(draw: st.DrawFn) -> tuple[Pair, Pair]:
    """Return two pairs, mostly of one text that is parted at different line breaks."""
    parts = draw(_PARTS)
    first, second = draw(st.lists(st.integers(1, len(parts) - 1), min_size=2, max_size=2, unique=True))
    other = draw(st.just(parts) | _PARTS.filter(lambda found: len(found) == len(parts)))
    return _parted(parts, first), _parted(other, second)


def _parted(parts: list[str], at: int) -> Pair:
    return "\n".join(parts[:at]), "\n".join(parts[at:])
