"""How many tokens an answer took, read from what endpoints tell. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

_COUNTS: Final = {
    "prompt_tokens": ("prompt_tokens", "input_tokens"),
    "completion_tokens": ("completion_tokens", "output_tokens"),
}
"""OpenAI's names, and those under which endpoints tell the same."""

_DETAILS: Final = {
    "prompt_tokens_details": ("prompt_tokens_details", "input_tokens_details"),
    "completion_tokens_details": ("completion_tokens_details", "output_tokens_details"),
}

_MOST: Final = 2**53
"""A count above this is no count."""


class UsageReading:
    """The last reading of an answer's usage.

    A usage is a reading and never a part of a sum: endpoints tell it once at the end, again in the last
    chunk, or in every chunk as far as they are. Some tell the two counts in different chunks and 0 for the
    other one: each count keeps its last value above 0.
    """

    def __init__(self) -> None:
        self._read: dict[str, Any] = {}

    def feed(self, usage: object) -> None:
        """Take what a chunk says; what is no number is left out."""
        if not isinstance(usage, Mapping):
            return
        for name, aliases in _COUNTS.items():
            count = next(filter(None, (_count(usage.get(alias)) for alias in aliases)), None)
            if count or name not in self._read:
                self._read[name] = count or 0
        total = _count(usage.get("total_tokens")) or 0
        if not self._read["completion_tokens"] and 0 < self._read["prompt_tokens"] < total:
            self._read["completion_tokens"] = total - self._read["prompt_tokens"]
        for name, aliases in _DETAILS.items():
            for details in filter(None, map(usage.get, aliases)):
                if isinstance(details, Mapping) and (counts := _counts(details)):
                    self._read[name] = counts

    def value(self) -> dict[str, Any] | None:
        """Return the usage as OpenAI's API has it; None when nothing was told."""
        read = self._read
        if not read:
            return None
        return {**read, "total_tokens": read["prompt_tokens"] + read["completion_tokens"]}


def _counts(details: Mapping[Any, object]) -> dict[str, int]:
    return {str(name): count for name, value in details.items() if (count := _count(value)) is not None}


def _count(value: object) -> int | None:
    """Return a count of tokens, which some endpoints tell as a text or with a fraction; None for others."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return math.floor(number + 0.5) if 0 <= number <= _MOST else None
