"""Content negotiation: which of two answers a request's `Accept` asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

_ELEMENTS: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_PARAMETERS: Final = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+')
_WEIGHT: Final = re.compile(r"q\s*=\s*([01]?(?:\.[0-9]*)?)", re.IGNORECASE)
_ANY: Final = "*/*"

MAX_RANGES: Final = 100
"""How many elements of a header are looked at. Clients send about ten. A header of 64 KiB has room for
32,000: they take 0.1 s, for which all streams of the process would wait."""


class _Range(NamedTuple):
    """One element of an `Accept`."""

    media_range: str
    """`type/subtype`, `type/*` or `*/*`, in lower case."""
    weight: float
    """From 0, never, to 1."""


def preferred(accept: str, offers: Sequence[str]) -> str:
    """Return the offer that a request likes best: of those that it likes as well, the first.

    Of the ranges that match an offer, the most specific one gives its weight. Parameters other than `q`
    are passed over: no offer has any. Where nothing suits it is the first offer, too, as RFC 9110 allows:
    who reads a stream may say `text/html`.

    Args:
        accept: The header's value; of several headers, joined by commas. Empty when there was none.
        offers: Media types in lower case, the server's own favourite first.

    Source: https://www.rfc-editor.org/rfc/rfc9110.html#section-12.5.1
    """
    ranges = list(_ranges(accept))
    # `max` keeps the first of equals.
    return max(offers, key=lambda offer: _weight_of(offer, ranges))


def _weight_of(offer: str, ranges: Sequence[_Range]) -> float:
    """Return how much an offer is liked: 0 when no range matches it."""
    for wanted in (offer, f"{offer.partition('/')[0]}/*", _ANY):
        weights = [weight for media_range, weight in ranges if media_range == wanted]
        if weights:
            return max(weights)
    return 0.0


def _ranges(accept: str) -> Iterator[_Range]:
    """Yield what is accepted. An element that is none is like none at all."""
    for element in islice(_ELEMENTS.finditer(accept), MAX_RANGES):
        media_range, *parameters = [part.strip() for part in _PARAMETERS.findall(element[0])] or [""]
        media_range = media_range.lower()
        # `*` alone is what Java's HttpURLConnection sends.
        yield _Range(_ANY if media_range == "*" else media_range, _weight(parameters))


def _weight(parameters: Sequence[str]) -> float:
    """Return the weight that parameters give: 1 without `q`, or with one that is no number."""
    for parameter in parameters:
        match = _WEIGHT.fullmatch(parameter)
        if match is not None and match[1].strip("."):
            return min(float(match[1]), 1.0)
    return 1.0
