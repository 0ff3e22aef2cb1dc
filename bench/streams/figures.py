"""Figures of a result: medians over its rounds, and ratios within a round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.streams.bridges import PRODUCT, PRODUCT_CALLS, TWO_WORKERS
from bench.streams.loader import ORDER_FAULTS, faults_of

OWN: Final = frozenset({PRODUCT, PRODUCT_CALLS, TWO_WORKERS})
"""The bridges that are our edge."""


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        """Return it as the tables show it."""
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def spread(values: Sequence[float]) -> Spread | None:
    """Return the spread of the values; None if there are none."""
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def value_of(row: Mapping[str, Any], figure: str) -> float | None:
    """Return a figure of a row, `latency_ms.p99` for one within another; None if it has none."""
    found: Any = row
    for name in figure.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    # The loader's quantiles are -1 where nothing was counted.
    return None if found is None or found == -1 else float(found)


class Figures:
    """What the rows of a result say.

    Args:
        result: As `bench.streams` keeps it.
    """

    def __init__(self, result: Mapping[str, Any]) -> None:
        self.rows: Sequence[Mapping[str, Any]] = [row for row in result["rows"] if "failed" not in row]
        self.failed: Sequence[Mapping[str, Any]] = [row for row in result["rows"] if "failed" in row]
        self.bridges: Sequence[str] = list(result["bridges"])
        """Those that were measured, in the order of the tables."""

    def loads(self, case: str) -> list[str]:
        """Return the names of the loads of a kind of case, in their order."""
        return list(dict.fromkeys(row["load"] for row in self.rows if row["case"] == case))

    def by_round(self, load: str, bridge: str, figure: str) -> dict[int, float]:
        """Return a figure of one bridge under one load, by round."""
        mine = [row for row in self.rows if row["load"] == load and row["bridge"] == bridge]
        found = {row["round"]: value_of(row, figure) for row in mine}
        return {number: value for number, value in found.items() if value is not None}

    def median(self, load: str, bridge: str, figure: str) -> float | None:
        """Return the median over the rounds; None if it was not measured."""
        values = self.by_round(load, bridge, figure)
        return statistics.median(values.values()) if values else None

    def ratio(self, load: str, bridge: str, to: str, figure: str) -> Spread | None:
        """Return the ratio of two bridges' figures in the same round; None if one was not measured."""
        mine, others = self.by_round(load, bridge, figure), self.by_round(load, to, figure)
        return spread([mine[number] / others[number] for number in mine if others.get(number)])

    def ratio_of_loads(self, bridge: str, load: str, to: str, figure: str) -> Spread | None:
        """Return the ratio of a bridge's figure under two loads in the same round."""
        mine, others = self.by_round(load, bridge, figure), self.by_round(to, bridge, figure)
        return spread([mine[number] / others[number] for number in mine if others.get(number)])

    def difference(self, load: str, bridge: str, to: str, figure: str) -> Spread | None:
        """Return how much more a bridge's figure is than another one's in the same round."""
        mine, others = self.by_round(load, bridge, figure), self.by_round(load, to, figure)
        return spread([mine[number] - others[number] for number in mine if number in others])

    def faults(self, load: str, bridge: str) -> int:
        """Return how much was wrong in all rounds."""
        return sum(faults_of(row) for row in self.rows if row["load"] == load and row["bridge"] == bridge)

    def own_order_faults(self) -> int:
        """Return how many events our edge lost, doubled or mixed up, over links and calls."""
        mine = [row for row in self.rows if row["bridge"] in OWN]
        return sum(int(row[name]) for row in mine for name in ORDER_FAULTS)

    def own_faults(self) -> int:
        """Return how much was wrong with our edge over links. A case that failed counts as one.

        Calls are there to be compared with: under full load the core may not answer all of them in time.
        """
        linked = OWN - {PRODUCT_CALLS}
        failed = sum(row["bridge"] in linked for row in self.failed)
        return failed + sum(faults_of(row) for row in self.rows if row["bridge"] in linked)
