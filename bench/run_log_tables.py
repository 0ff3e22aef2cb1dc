"""The tables of docs/performance.md, made from the rows that `bench/run_log.py` has kept."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from bench.page import write_section

Row: TypeAlias = dict[str, Any]
Result: TypeAlias = dict[str, Any]

BEGIN: Final = "<!-- run-log: written by `make bench-log`, do not edit -->"
END: Final = "<!-- end of run-log -->"

BEYOND: Final = 10
"""A percentile is told only where so many tokens of a round lie beyond it."""


def tables(result: Result) -> str:
    """Return everything that a reader of the page is told of a result."""
    return "\n".join(
        (
            _circumstances(result),
            "### Latency that a store adds to a token\n",
            _table(LATENCY_HEAD, _lines(result, _latency_line, paced=True)),
            "### Events per second, flat out\n",
            _table(FLAT_OUT_HEAD, _lines(result, _flat_out_line, paced=False)),
            "### Budgets\n",
            _table(BUDGETS_HEAD, [_budget_line(result, budget) for budget in BUDGETS]),
        )
    )


def write_into_page(page: Path, result: Result) -> None:
    """Put the tables between the page's markers.

    Raises:
        ValueError: The page has no such markers.
    """
    write_section(page, BEGIN, END, tables(result).rstrip("\n"))


LATENCY_HEAD: Final = (
    "runs x tokens/s",
    "store",
    "p50",
    "p99",
    "p99.9",
    "added p50",
    "added p99",
    "p50 / no log",
    "p99 / no log",
    "µs of CPU a token",
    "and of Redis",
    "tokens/s",
)
FLAT_OUT_HEAD: Final = (
    "runs",
    "store",
    "tokens/s",
    "to no log",
    "µs of CPU a token",
    "to no log",
    "and of Redis",
    "p50 ms",
    "p99 ms",
)


BUDGETS_HEAD: Final = ("load", "store", "what", "limit", "measured", "holds")


class Budget(NamedTuple):
    """One limit of a store, as the median of the rounds."""

    load: str
    store: str
    key: str
    what: str
    limit: float
    unit: str
    scale: float = 1
    is_added: bool = False
    """Whether it limits what the store adds to no log in the same round."""


def _budgets_of(store: str) -> tuple[Budget, ...]:
    usual, full = "1000 x 5/s", "1000 x 20/s"
    return (
        Budget(usual, store, "cpu_us_per_token", "CPU a token, more than no log", 40, "µs", is_added=True),
        Budget(usual, store, "p99_us", "latency p99", 20, "ms", 1e-3),
        Budget(full, store, "p50_us", "latency p50", 20, "ms", 1e-3),
    )


BUDGETS: Final = (
    *_budgets_of("redis"),
    Budget("1000 x 5/s", "redis", "redis_cpu_us_per_token", "CPU of Redis itself, a token", 25, "µs"),
    *_budgets_of("sqlite"),
)


def _budget_line(result: Result, budget: Budget) -> list[str]:
    of_load = [row for row in result["rows"] if row["load"] == budget.load]
    own = [row for row in of_load if row["store"] == budget.store]
    base = [row for row in of_load if row["store"] == result["baseline"]]
    told = [budget.load.removesuffix("/s"), budget.store, budget.what, f"{budget.limit:g} {budget.unit}"]
    if not own:
        return [*told, "", "not measured"]
    less = _pairs(own, base) if budget.is_added else [(row, {budget.key: 0.0}) for row in own]
    value = statistics.median(a[budget.key] - b[budget.key] for a, b in less) * budget.scale
    return [*told, f"{value:.1f} {budget.unit}", "yes" if value <= budget.limit else "**NO**"]


def _circumstances(result: Result) -> str:
    machine, versions = result["machine"], result["versions"]
    rounds = max(row["round"] for row in result["rows"])
    told = (
        f"Measured on {result['date']} with `{result['command'].strip()}`: {rounds} rounds on "
        f"{machine['cores']} cores of {machine['cpu']}, {machine['kernel']}, Python {versions['python']}, "
        f"SQLite {versions['sqlite']} on {result['file_system'] or 'an unknown file system'}"
    )
    redis = f", {versions['redis server']} on loopback" if versions["redis server"] else ""
    left_out = f" **Left out: {', '.join(result['left_out'])}.**" if result["left_out"] else ""
    others = max(row["machine_busy_with_others"] for row in result["rows"])
    shared = f" Other processes took up to {others:.0%} of the machine meanwhile."
    return f"{told}{redis}.{left_out}{shared}\n"


def _lines(
    result: Result, line: Callable[[Sequence[Row], Sequence[Row]], list[str]], *, paced: bool
) -> list[list[str]]:
    """Return a table's lines: each load's stores in the order in which they were measured."""
    rows = [row for row in result["rows"] if bool(row["rate"]) is paced]
    lines = []
    for load, store in dict.fromkeys((row["load"], row["store"]) for row in rows):
        own = [row for row in rows if (row["load"], row["store"]) == (load, store)]
        base = [row for row in rows if (row["load"], row["store"]) == (load, result["baseline"])]
        lines.append(line(own, base))
    return lines


def _latency_line(own: Sequence[Row], base: Sequence[Row]) -> list[str]:
    first = own[0]
    return [
        f"{first['runs']} x {first['rate']:g}",
        first["store"],
        *(_percentile(own, key) for key in PERCENTILES),
        *(_added(own, base, key) for key in ("p50_us", "p99_us")),
        *(_ratio(own, base, key) for key in ("p50_us", "p99_us")),
        f"{_median(own, 'cpu_us_per_token'):.0f}",
        f"{redis:.0f}" if (redis := _median(own, "redis_cpu_us_per_token")) else "",
        f"{_median(own, 'tokens_per_s'):,.0f}",
    ]


def _flat_out_line(own: Sequence[Row], base: Sequence[Row]) -> list[str]:
    redis = _median(own, "redis_cpu_us_per_token")
    return [
        str(own[0]["runs"]),
        own[0]["store"],
        f"{_median(own, 'tokens_per_s'):,.0f}",
        _ratio(own, base, "tokens_per_s"),
        f"{_median(own, 'cpu_us_per_token'):.1f}",
        _ratio(own, base, "cpu_us_per_token"),
        f"{redis:.1f}" if redis else "",
        *(f"{_median(own, key) / 1000:.1f}" for key in ("p50_us", "p99_us")),
    ]


PERCENTILES: Final = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999}


def _percentile(rows: Sequence[Row], key: str) -> str:
    if not _told(rows, key):
        return ""
    return f"{_median(rows, key):,.0f} µs"


def _added(own: Sequence[Row], base: Sequence[Row], key: str) -> str:
    """Return what a store adds to the baseline: the median of the rounds' differences."""
    if own[0]["store"] == base[0]["store"] or not _told(own, key):
        return ""
    return f"{statistics.median(a[key] - b[key] for a, b in _pairs(own, base)):+,.0f} µs"


def _ratio(own: Sequence[Row], base: Sequence[Row], key: str) -> str:
    """Return how a store stands to the baseline: the median of the rounds' ratios, the least and the most."""
    if own[0]["store"] == base[0]["store"]:
        return "1"
    if key in PERCENTILES and not _told(own, key):
        return ""
    ratios = [a[key] / b[key] for a, b in _pairs(own, base)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _pairs(own: Sequence[Row], base: Sequence[Row]) -> Iterable[tuple[Row, Row]]:
    of_round = {row["round"]: row for row in base}
    return [(row, of_round[row["round"]]) for row in own]


def _told(rows: Sequence[Row], key: str) -> bool:
    """Return whether every round had enough tokens for a percentile."""
    return all(row["tokens"] * (1 - PERCENTILES[key]) >= BEYOND - 0.001 for row in rows)


def _median(rows: Sequence[Row], key: str) -> float:
    return statistics.median([float(row[key]) for row in rows])


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; numbers stand to the right."""
    rule = [":---" if name in {"store", "load", "what", LATENCY_HEAD[0]} else "---:" for name in head]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *lines))
