"""Cases of `--full`: slow readers, streams that are left or stopped, and very many of them."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import uvloop

from bench.stand import Stand, base_of, settled, standing
from bench.streams.cases import LONG_S, SILENT_S, Steady, body, per, rates
from bench.streams.loader import Load, faults_of, run_loader
from bench.streams.started import CORE_SETTINGS, EDGE_SETTINGS, Started
from bench.streams.watched import AGENT, JOURNAL, cancellations
from bench.vanish import slopes

CANCELLED_WITHIN_S: Final = 20.0
POLL_S: Final = 0.05

IDLE: Final = {"tokens": 1, "delay_s": SILENT_S}
FLOOD: Final = {"tokens": 8_000, "rate": 4_000, "size": 1_000}
"""What a reader that never reads asks for: within two seconds it has filled every buffer on the way."""


@dataclass(frozen=True)
class Beside:
    """Streams under a steady load, and beside them some whose clients never read."""

    steady: Steady
    others: int = 0
    order: Mapping[str, float] = field(default_factory=dict)
    """What the others ask `pace` for."""
    what: str = ""
    """What the others are."""

    @property
    def name(self) -> str:
        """Return what the table calls it."""
        return f"{self.steady.name} beside {self.others:,} {self.what}"

    def run(self, loader: Path, started: Started) -> dict[str, Any]:
        """Return the row of one window: tokens and latencies are those of the clients that read."""
        steady, stuck = self.steady, dict[str, float | int | str | None]()
        if self.others:
            stuck = {"stuck": self.others, "stuck-body": started.bridge.request(body(self.order))}
        options = {"open": steady.open_s, "warm": steady.warm_s, "window": steady.window_s, **stuck}
        text = body({"tokens": round(steady.rate * LONG_S), "rate": steady.rate})
        row = run_loader(loader, started.load(text, steady.streams + self.others, options))
        return {**row, **rates(row), **per(row, row["tokens"], "token")}


@dataclass(frozen=True)
class Ending:
    """Streams whose clients leave, or stop them, one after the other: when is the agent cancelled?"""

    how: Literal["leave", "stop"]
    streams: int
    rate: float
    within_s: float
    journal: Path = field(compare=False)
    """Where the agent writes: as `core_settings` has it."""

    @property
    def name(self) -> str:
        """Return what the table calls it."""
        return f"{self.streams} {'left' if self.how == 'leave' else 'stopped'} within {self.within_s:g} s"

    @property
    def core_settings(self) -> Mapping[str, str]:
        """Return what the core needs."""
        return {"TOKENWIRE_AGENT": AGENT, JOURNAL: str(self.journal)}

    def run(self, loader: Path, started: Started) -> dict[str, Any]:
        """Return the row, with the time from each deed to the cancellation.

        Raises:
            RuntimeError: An agent was not cancelled.
        """
        self.journal.write_text("")
        options = {"open": self.streams / 300, "warm": 0.3, "window": 0.3, self.how: self.within_s}
        text = body({"tokens": round(self.rate * LONG_S), "rate": self.rate}, "watched")
        row = run_loader(loader, started.load(text, self.streams, options))
        asked = dict(row.pop("left" if self.how == "leave" else "stopped"))
        deadline = time.monotonic() + CANCELLED_WITHIN_S
        while (missing := asked.keys() - (seen := cancellations(self.journal)).keys()) or not asked:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: {len(missing)} of {len(asked)} were not cancelled")
            time.sleep(POLL_S)
        delays_ms = sorted((seen[number] - moment) / 1e6 for number, moment in asked.items())
        cuts = statistics.quantiles(delays_ms, n=100)
        return {**row, "cancel_ms": {"p50": cuts[49], "p99": cuts[98], "max": delays_ms[-1]}}


@dataclass(frozen=True)
class Disconnects:
    """Very many streams that are left: what of them stays?"""

    count: int
    steps: int = 10
    at_once: int = 50

    @property
    def name(self) -> str:
        """Return what the table calls it."""
        return f"{self.count:,} disconnects"

    def run(self, loader: Path, variables: Mapping[str, str]) -> dict[str, Any]:
        """Return what is left, and by how much memory grew with each after the first third.

        Args:
            loader: The program.
            variables: Settings of core and edge.
        """
        settings = {**CORE_SETTINGS, **EDGE_SETTINGS, **variables, "TOKENWIRE_LOG_RETENTION_S": "1"}
        with standing("memory", {**settings, "TOKENWIRE_SESSION_RETENTION_S": "1"}) as stand:
            self._visit(loader, stand, 100)
            return uvloop.run(self._measure(loader, stand))

    def _visit(self, loader: Path, stand: Stand, visits: int) -> int:
        text = body({"tokens": 1000, "rate": 50})
        row = run_loader(loader, Load(stand.address[1], text, self.at_once, {"visits": visits}))
        if faults := faults_of(row):
            raise RuntimeError(f"{faults} of {visits} visits failed: {row.get('said', '')}")
        return int(row["streams"])

    async def _measure(self, loader: Path, stand: Stand) -> dict[str, Any]:
        base, left = await base_of(stand)
        rows: list[dict[str, Any]] = []
        done = 0
        for _ in range(self.steps):
            if left:
                break
            done += self._visit(loader, stand, self.count // self.steps)
            gauges, left = await settled(stand, base)
            rows.append({"clients": done, **gauges})
            print(f"{done:,} disconnects, left: {left or 'nothing'}", file=sys.stderr, flush=True)
        growth = slopes(rows, self.count // 3) if len(rows) > self.steps // 2 else {}
        rss = {f"{name}_rss_bytes_per_stream": grown["rss_bytes"] for name, grown in growth.items()}
        return {"streams": done, "not_at_rest": left, "growth": growth, "checkpoints": rows, **rss}
