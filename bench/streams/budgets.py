"""What the project wants of itself, and whether a result holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from bench.streams.bridges import GATEWAY, GO, NAIVE, NODE, PRODUCT, PRODUCT_CALLS, RAW
from bench.streams.cases import LOADS
from bench.streams.figures import Figures
from bench.streams.full import ALONE, CROWDED, DISCONNECTS, NONE_STUCK, STUCK
from bench.streams.rounds import Case

MEASURED: TypeAlias = Callable[[Figures], float | None]
BUSY, MIDDLE, FULL = (case.name for case in LOADS)
EDGE: Final = "edge_us_per_token"
CORE: Final = "core_us_per_token"
KEEPS_UP: Final = 0.99
"""The share of the offered tokens that must be delivered within the window."""


@dataclass(frozen=True)
class Budget:
    """One limit."""

    what: str
    limit: float
    measured: MEASURED
    unit: str = ""
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Return whether a measured value is within the budget."""
        return value >= self.limit if self.at_least else value <= self.limit


def _edge_to(peer: str, load: str) -> MEASURED:
    def measured(figures: Figures) -> float | None:
        found = figures.ratio(load, PRODUCT, peer, EDGE)
        return found.median if found else None

    return measured


def _core_to_calls(figures: Figures) -> float | None:
    found = figures.ratio(MIDDLE, PRODUCT, PRODUCT_CALLS, CORE)
    return found.median if found else None


def _of_product(load: str, figure: str, scale: float = 1) -> MEASURED:
    def measured(figures: Figures) -> float | None:
        found = figures.median(load, PRODUCT, figure)
        return found * scale if found is not None else None

    return measured


def _of_visits(at_once: int, figure: str, scale: float = 1) -> MEASURED:
    def measured(figures: Figures) -> float | None:
        loads = [load for load in figures.loads("visits") if load.endswith(f" {at_once} at once")]
        return _of_product(loads[0], figure, scale)(figures) if loads else None

    return measured


def _later_than_go(figures: Figures) -> float | None:
    for load in figures.loads("visits"):
        if load.endswith(" 1 at once"):
            found = figures.difference(load, PRODUCT, GO, "first_token_ms.p50")
            return found.median if found else None
    return None


def _budgets() -> Iterator[Budget]:
    for load in (BUSY, MIDDLE, FULL):
        yield Budget(f"edge CPU a token, to {NAIVE}, {load}", 0.5, _edge_to(NAIVE, load))
    for peer in (GO, NODE):
        for load in (BUSY, MIDDLE):
            yield Budget(f"edge CPU a token, to {peer}, {load}", 1.0, _edge_to(peer, load))
    for load in (BUSY, MIDDLE, FULL):
        yield Budget(f"edge CPU a token, to {RAW}, {load}", 2.5, _edge_to(RAW, load))
    yield Budget(f"core CPU a token, link to calls, {MIDDLE}", 0.6, _core_to_calls)
    full_rate = KEEPS_UP * 500 * 50
    yield Budget(
        f"tokens a second, {FULL}", full_rate, _of_product(FULL, "tokens_per_s"), "/s", at_least=True
    )
    for load, p50_ms, p99_ms in ((FULL, 10, 50), (MIDDLE, 1.5, 10)):
        yield Budget(f"latency p50, {load}", p50_ms, _of_product(load, "latency_ms.p50"), " ms")
        yield Budget(f"latency p99, {load}", p99_ms, _of_product(load, "latency_ms.p99"), " ms")
    yield Budget(f"time to first token p50, one at a time, later than {GO}", 1.0, _later_than_go, " ms")
    yield Budget("stream opened and left, edge CPU", 1.2, _of_visits(50, "edge_us_per_stream", 1e-3), " ms")
    yield Budget("stream opened and left, core CPU", 1.6, _of_visits(50, "core_us_per_stream", 1e-3), " ms")
    yield Budget(
        "memory per idle stream, edge, 5,000 open",
        32,
        _of_product("5,000 idle", "edge_kib_per_stream"),
        " KiB",
    )
    yield from _correct()


def _correct() -> Iterator[Budget]:
    yield Budget("events lost, doubled or out of order", 0, Figures.own_order_faults)
    yield Budget("streams refused, cut or failed, over links", 0, Figures.own_faults)


def _ratio_of_loads(load: Case, to: Case, figure: str) -> MEASURED:
    def measured(figures: Figures) -> float | None:
        found = figures.ratio_of_loads(PRODUCT, load.name, to.name, figure)
        return found.median if found else None

    return measured


def _full_budgets() -> Iterator[Budget]:
    for load in (BUSY, MIDDLE):
        yield Budget(f"edge CPU a token, to {GATEWAY}, {load}", 1.0, _edge_to(GATEWAY, load))
    for name in ("500 left within 5 s", "500 stopped within 5 s"):
        yield Budget(
            f"client's deed to agent's end p99, {name}", 50, _of_product(name, "cancel_ms.p99"), " ms"
        )
    stuck = _ratio_of_loads(STUCK, NONE_STUCK, "latency_ms.p99")
    yield Budget(f"latency p99, {STUCK.name}, to none", 1.1, stuck)
    yield Budget(f"edge CPU a token, {CROWDED.name}, to none", 1.1, _ratio_of_loads(CROWDED, ALONE, EDGE))
    for name in ("core", "edge"):
        grown = _of_product(DISCONNECTS.name, f"{name}_rss_bytes_per_stream")
        yield Budget(f"growth of the {name}'s memory per disconnect", 200, grown, " B")
    yield from _correct()


BUDGETS: Final = tuple(_budgets())
"""Those about streams. Stores have their own benchmark, `bench.run_log`."""

FULL_BUDGETS: Final = tuple(_full_budgets())
"""Those that `--full` measures."""
