"""Quantiles of many durations in little memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

_BITS: Final = 6
"""How many leading bits of a value are kept: an answer is at most 1/64 too small."""


MAX_EXACT: Final = 4096
"""Up to so many durations, the answers are exact."""


class Quantiles:
    """Keeps durations and tells their quantiles: of many, within 1.6 %; the largest is exact in any case."""

    __slots__ = (
        "_counts",
        "_exact",
        "count",
        "max",
    )

    def __init__(self) -> None:
        self._exact: list[int] = []
        self._counts: Counter[int] | None = None  # until there are many
        self.count = 0
        """How many durations were added."""
        self.max = 0
        """The largest."""

    def add(self, durations: Sequence[int]) -> None:
        """Count durations.

        Args:
            durations: 0 or more, in any unit.
        """
        if not durations:
            return
        self.count += len(durations)
        self.max = max(self.max, max(durations))  # noqa: PLW3301 # unpacking takes longer
        self._exact += durations
        if len(self._exact) > MAX_EXACT:
            self._counts = self._counts if self._counts is not None else Counter()
            self._counts.update(map(_rounded, self._exact))
            self._exact = []

    def at(self, share: float) -> int:
        """Return the value that so large a share of the durations does not exceed; 0 without any.

        Args:
            share: From 0 to 1.
        """
        counts = (self._counts or Counter()) + Counter(self._exact)
        left = share * self.count
        for value in sorted(counts):
            left -= counts[value]
            if left <= 0:
                return value
        return self.max


def _rounded(value: int) -> int:
    shift = value.bit_length() - _BITS
    return value >> shift << shift if shift > 0 else value
