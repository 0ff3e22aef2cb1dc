"""How durations, numbers and times are written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final

from tokenwire.traces.rows import NS_PER_US, Clock

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
S_PER_MINUTE: Final = 60
MINUTES_FROM_S: Final = 120
"""From here on a duration has minutes."""


def duration(ns: float) -> str:
    """Return a duration with three digits that count: `812 µs`, `12.3 ms`, `1.20 s`, `3 min 5 s`."""
    sign, size = ("-" if ns < 0 else ""), abs(ns)
    # Rounded first: 999.6 µs is a millisecond.
    if round(size / NS_PER_US) < NS_PER_US:
        return f"{sign if round(size / NS_PER_US) else ''}{size / NS_PER_US:.0f} µs"
    if round(size / NS_PER_MS) < NS_PER_US:
        return f"{sign}{_digits(size / NS_PER_MS)} ms"
    if size < MINUTES_FROM_S * NS_PER_S:
        return f"{sign}{_digits(size / NS_PER_S)} s"
    minutes, seconds = divmod(round(size / NS_PER_S), S_PER_MINUTE)
    return f"{sign}{minutes} min {seconds} s"


def since(ns: float) -> str:
    """Return a time since a start, to the millisecond."""
    return f"{ns / NS_PER_S:,.3f} s"


def clock_time(unix_ns: int) -> str:
    """Return a moment in UTC, to the millisecond."""
    moment = dt.datetime.fromtimestamp(unix_ns // NS_PER_MS / 1_000, dt.UTC)
    return moment.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00") + "Z"


def error_words(clock: Clock) -> str:
    """Return how far a time between two machines may be off."""
    return "± unknown" if clock.is_unknown else f"± {duration(clock.error_us * NS_PER_US)}"


def listing(texts: Iterable[str]) -> str:
    """Return what there is of some texts, with commas between."""
    return ", ".join(text for text in texts if text)


def _digits(value: float) -> str:
    ten, hundred = 9.995, 99.95
    return f"{value:.2f}" if value < ten else f"{value:.1f}" if value < hundred else f"{value:.0f}"
