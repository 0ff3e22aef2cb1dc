"""How many processes so many streams need: arithmetic from measured unit costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.streams.bridges import PRODUCT
from bench.streams.budgets import CORE, EDGE, MIDDLE
from bench.streams.cases import OPENED_AND_LEFT
from bench.streams.figures import Figures
from bench.streams.tables import number, table

ACTIVE: Final = 0.1
"""The share of the open streams that receive tokens at a time."""
RATE: Final = 20.0
"""Tokens a second of those."""
ANSWER: Final = 400.0
"""Tokens of an answer: so often a stream is opened."""
BUSY: Final = 0.6
"""The share of a CPU that a process may use: beyond it, latency grows faster than the load."""
STREAMS: Final = (1_000, 10_000, 100_000, 1_000_000)
STORE_LOAD: Final = "1000 x 5/s"


@dataclass(frozen=True)
class UnitCosts:
    """What one of each costs, on the machine of the results."""

    edge_token_us: float
    core_token_us: float
    edge_open_ms: float
    core_open_ms: float
    edge_stream_kib: float
    core_stream_kib: float
    store_token_us: float
    """What Redis as the store adds to a token at the core."""
    redis_token_us: float
    """What Redis itself needs for a token."""


def unit_costs(figures: Figures, stores: Mapping[str, Any]) -> UnitCosts | None:
    """Return the unit costs; None if one was not measured.

    Args:
        figures: Of the streams.
        stores: The result of `bench.run_log`.
    """
    idle = figures.loads("idle")
    largest = max(idle, key=lambda load: int(load.split()[0].replace(",", "")), default="")
    visits = OPENED_AND_LEFT.name
    found = [
        figures.median(MIDDLE, PRODUCT, EDGE),
        figures.median(MIDDLE, PRODUCT, CORE),
        figures.median(visits, PRODUCT, "edge_us_per_stream"),
        figures.median(visits, PRODUCT, "core_us_per_stream"),
        figures.median(largest, PRODUCT, "edge_kib_per_stream"),
        figures.median(largest, PRODUCT, "core_kib_per_stream"),
        _added_by_redis(stores),
        _of_store(stores, "redis", "redis_cpu_us_per_token"),
    ]
    values = [value for value in found if value is not None]
    if len(values) < len(found):
        return None
    values[2:4] = [value / 1000 for value in values[2:4]]
    return UnitCosts(*values)


def _of_store(stores: Mapping[str, Any], store: str, figure: str) -> float | None:
    rows = stores.get("rows", ())
    values = [row[figure] for row in rows if row["load"] == STORE_LOAD and row["store"] == store]
    return statistics.median(values) if values else None


def _added_by_redis(stores: Mapping[str, Any]) -> float | None:
    redis, memory = (_of_store(stores, store, "cpu_us_per_token") for store in ("redis", "memory"))
    return None if redis is None or memory is None else max(redis - memory, 0)


def units_table(costs: UnitCosts) -> str:
    """Return the unit costs with the letters that the formulas use."""
    rows = [
        ["`e`", "edge, one token", f"{costs.edge_token_us:.0f} µs"],
        ["`c`", "core, one token, store in memory", f"{costs.core_token_us:.0f} µs"],
        ["`s`", "core, added to a token by Redis as the store", f"{costs.store_token_us:.0f} µs"],
        ["`r`", "Redis itself, one token", f"{costs.redis_token_us:.0f} µs"],
        ["`E`", "edge, one stream opened, first token, left", f"{costs.edge_open_ms:.2f} ms"],
        ["`C`", "core, the same", f"{costs.core_open_ms:.2f} ms"],
        ["`M`", "edge, memory of an open stream", f"{costs.edge_stream_kib:.0f} KiB"],
        ["`N`", "core, memory of an open run without its log", f"{costs.core_stream_kib:.0f} KiB"],
    ]
    return table(["", "what", "cost"], rows, 2)


def processes(cpus: float) -> int:
    """Return how many processes of one event loop each this much CPU needs."""
    return max(1, math.ceil(cpus / BUSY - 1e-9))


def sizes_table(costs: UnitCosts) -> str:
    """Return how many processes and how much memory so many open streams need."""

    def rows() -> Iterator[list[str]]:
        for streams in STREAMS:
            tokens = streams * ACTIVE * RATE
            opened = tokens / ANSWER
            edge = tokens * costs.edge_token_us * 1e-6 + opened * costs.edge_open_ms * 1e-3
            core = (
                tokens * (costs.core_token_us + costs.store_token_us) * 1e-6
                + opened * costs.core_open_ms * 1e-3
            )
            redis = tokens * costs.redis_token_us * 1e-6
            memory = [streams * kib / 1024**2 for kib in (costs.edge_stream_kib, costs.core_stream_kib)]
            yield [
                f"{streams:,}",
                number(tokens, 0),
                number(opened, 0),
                *(f"{cpus:.2f} → {processes(cpus):,}" for cpus in (edge, core, redis)),
                *(f"{gib:.1f}" for gib in memory),
            ]

    head = ["open streams", "tokens/s", "opened/s", "edge CPUs → processes", "core CPUs → processes"]
    return table([*head, "Redis CPUs → servers", "edges GiB", "cores GiB"], rows(), 0)


def sizing(costs: UnitCosts) -> str:
    """Return the generated part of the section about sizes."""
    assumed = (
        f"With `a` = {ACTIVE:.0%} of the open streams receiving `v` = {RATE:g} tokens/s each, answers of "
        f"`L` = {ANSWER:g} tokens, and each process `u` = {BUSY:.0%} busy:"
    )
    return "\n\n".join([units_table(costs), assumed, sizes_table(costs)])
