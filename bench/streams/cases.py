"""What is asked of each bridge, and what a row of it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

from bench.streams.loader import faults_of, run_loader
from bench.streams.started import Started

TOKEN_BYTES: Final = 5
LONG_S: Final = 120
"""How long an answer would take: no stream ends within a window."""
SILENT_S: Final = 3600
"""Before the first token of an idle stream."""
NUMBERS: Final = count(1)
"""Of the loader's runs: sessions are never used twice."""


def body(order: Mapping[str, float], agent: str = "pace") -> str:
    """Return the body of a question for `pace`. `@n` becomes the stream's number."""
    message = json.dumps({"size": TOKEN_BYTES, **order})
    session = f"bench-{next(NUMBERS)}-@n"
    # A run must end with its stream, as with the other bridges: their calls end it by default.
    return json.dumps({"message": message, "sessionId": session, "agent": agent, "onDisconnect": "cancel"})


@dataclass(frozen=True)
class Steady:
    """Open streams that say so many tokens a second each."""

    streams: int
    rate: float
    open_s: float = 1.5
    warm_s: float = 0.5
    window_s: float = 1.7

    @property
    def name(self) -> str:
        """Return what the table calls it."""
        return f"{self.streams} x {self.rate:g}/s"

    def run(self, loader: Path, started: Started) -> dict[str, Any]:
        """Return the row of one window."""
        options = {"open": self.open_s, "warm": self.warm_s, "window": self.window_s}
        text = body({"tokens": round(self.rate * LONG_S), "rate": self.rate})
        row = run_loader(loader, started.load(text, self.streams, options))
        return {**row, **rates(row), **per(row, row["tokens"], "token")}


@dataclass(frozen=True)
class Visits:
    """Streams that are opened and left at their first token."""

    visits: int
    at_once: int

    @property
    def name(self) -> str:
        """Return what the table calls it."""
        return f"{self.visits} visits, {self.at_once} at once"

    def run(self, loader: Path, started: Started) -> dict[str, Any]:
        """Return the row of all of them."""
        text = body({"tokens": 1000, "rate": 50})
        row = run_loader(loader, started.load(text, self.at_once, {"visits": self.visits}))
        return {**row, **per(row, row["streams"], "stream")}


@dataclass(frozen=True)
class Whole:
    """Streams that are read to their end: each must have one terminal event."""

    streams: int
    tokens: int
    rate: float

    @property
    def name(self) -> str:
        """Return what the table calls it."""
        return f"{self.streams} whole answers"

    def run(self, loader: Path, started: Started) -> dict[str, Any]:
        """Return the row of all of them.

        Raises:
            RuntimeError: Not all ended, and nothing was counted as wrong.
        """
        text = body({"tokens": self.tokens, "rate": self.rate})
        row = run_loader(loader, started.load(text, self.streams, {"open": 0.3, "until-end": None}))
        whole = row["ended"] == self.streams and row["tokens"] == self.streams * self.tokens
        if not whole and not faults_of(row):
            raise RuntimeError(f"{row['ended']} of {self.streams} answers ended, with {row['tokens']} tokens")
        return row


@dataclass(frozen=True)
class Idle:
    """Open streams that say nothing after their first event, on fresh processes."""

    streams: int
    per_s: float = 450
    window_s: float = 2.0

    @property
    def name(self) -> str:
        """Return what the table calls it."""
        return f"{self.streams:,} idle"

    def run(self, loader: Path, started: Started) -> dict[str, Any]:
        """Return the row: memory, and the CPU of being there."""
        options = {"open": self.streams / self.per_s, "warm": 1, "window": self.window_s}
        text = body({"tokens": 1, "rate": 1, "delay_s": SILENT_S})
        row = run_loader(loader, started.load(text, self.streams, options))
        grown = {
            f"{name}_kib_per_stream": (used["rss_kib"] - used["rss_kib_before"]) / self.streams
            for name, used in row["processes"].items()
        }
        share = {f"{name}_cpus": used["cpu_s"] / row["seconds"] for name, used in row["processes"].items()}
        return {**row, **grown, **share}


def rates(row: Mapping[str, Any]) -> dict[str, float]:
    """Return how many tokens came in a second, and how many reads of the clients each took.

    Less than one read a token: the bridge fell behind, and sent several at once.
    """
    tokens = row["tokens"]
    return {
        "tokens_per_s": tokens / row["seconds"],
        **({"reads_per_token": row["reads"] / tokens} if tokens else {}),
    }


def per(row: Mapping[str, Any], many: float, what: str) -> dict[str, float]:
    """Return the CPU time of each process for each of many, in microseconds."""
    used = {name: process["cpu_s"] for name, process in row["processes"].items()}
    used["loader"] = row["loader_cpu_s"]
    return {f"{name}_us_per_{what}": seconds * 1e6 / many for name, seconds in used.items()} if many else {}


LOADS: Final = (
    Steady(100, 50, open_s=0.7),
    Steady(500, 20, open_s=1.3),
    # Slowly: a bridge that has just enough CPU for the tokens has none for many openings at once.
    Steady(500, 50, open_s=2.4),
)
FIRST_TOKEN: Final = Visits(120, 1)
OPENED_AND_LEFT: Final = Visits(500, 50)
WHOLE: Final = Whole(100, 25, 50)
IDLE: Final = Idle(5000)

QUICK: Final = (
    replace(LOADS[0], streams=20, open_s=0.1, warm_s=0.1, window_s=0.3),
    Visits(5, 1),
    Visits(20, 10),
)
"""The cases of a run of seconds, which shows that everything works."""
