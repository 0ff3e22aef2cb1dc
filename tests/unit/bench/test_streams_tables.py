"""What a result of the streams' benchmark says."""

from __future__ import annotations

from typing import Any

import pytest

from bench.streams.bridges import BRIDGES, GO, NAIVE, PRODUCT, PRODUCT_CALLS
from bench.streams.budgets import BUDGETS, MIDDLE
from bench.streams.figures import Figures
from bench.streams.loader import FAULTS, ORDER_FAULTS
from bench.streams.tables import costs, ratios, report, verdict


def row(bridge: str, edge_us: float, number: int = 1, **more: Any) -> dict[str, Any]:
    latency = {"count": 1, "p50": 1.0, "p90": 1.0, "p99": 2.0, "max": 3.0}
    more = {"others_cpus": 0.1, "loader_cpu_s": 0.5, "seconds": 2.0, **more}
    facts = {"round": number, "case": "steady", "load": MIDDLE, "bridge": bridge}
    cost = {"edge_us_per_token": edge_us, "core_us_per_token": 50.0, "tokens_per_s": 10_000.0}
    return {**dict.fromkeys(FAULTS, 0), **facts, **cost, "latency_ms": latency, **more}


def result(*rows: dict[str, Any]) -> dict[str, Any]:
    names = [bridge.name for bridge in BRIDGES if bridge.name in {row["bridge"] for row in rows}]
    return {
        "date": "today",
        "command": "this",
        "machine": {"cores": 2, "cpu": "one", "kernel": "Linux"},
        "versions": {"python": "3"},
        "bridges": {name: {"about": "", "versions": {}} for name in names},
        "left_out": {"Node": "node was not found"},
        "rows": list(rows),
    }


def test_ratios_are_those_of_one_round() -> None:
    """The median of the rounds' own ratios, which the ratio of the medians is not."""
    pairs = [(10, 20), (20, 80), (90, 90)]
    rows = [
        row(name, cost, number)
        for number, pair in enumerate(pairs)
        for name, cost in zip((PRODUCT, NAIVE), pair, strict=True)
    ]
    assert "| edge, to naive | 0.50 (0.25 to 1.00) |" in ratios(Figures(result(*rows)))


def test_a_budget_is_held_missed_or_not_measured() -> None:
    """Each row says which."""
    figures = Figures(result(row(PRODUCT, 30), row(NAIVE, 100), row(GO, 20)))
    lines = {line.split(" | ")[0][2:]: line for line in verdict(figures).splitlines()}
    assert len(lines) == len(BUDGETS) + 2
    assert lines[f"edge CPU a token, to naive, {MIDDLE}"].endswith("| 0.30 | holds |")
    assert lines[f"edge CPU a token, to Go by hand, {MIDDLE}"].endswith("| 1.50 | **NO** |")
    assert lines[f"edge CPU a token, to Node, {MIDDLE}"].endswith("| - | not measured |")


@pytest.mark.parametrize("fault", FAULTS)
def test_under_calls_only_what_comes_wrong_is_a_fault_of_ours(fault: str) -> None:
    """A core under full load may not answer all calls in time; what it sends must be right."""
    figures = Figures(result(row(PRODUCT, 1), row(PRODUCT_CALLS, 1, **{fault: 3})))
    assert figures.own_order_faults() == (3 if fault in ORDER_FAULTS else 0)
    assert figures.own_faults() == 0


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_our_edge_breaks_a_budget_and_one_of_a_peer_does_not(fault: str) -> None:
    """It is shown in the table for both."""
    for bridge, wrong in ((PRODUCT, True), (NAIVE, False)):
        figures = Figures(result(row(PRODUCT, 1), row(bridge, 1, **{fault: 3})))
        assert bool(figures.own_faults()) == wrong
        assert "| 3 |" in costs(figures)


def test_a_case_that_failed_is_told_and_its_other_rounds_count() -> None:
    """One of our own counts as a fault, one of a peer does not."""
    for bridge, faults in ((PRODUCT, 1), (NAIVE, 0)):
        failed = {"round": 2, "case": "steady", "load": MIDDLE, "bridge": bridge, "failed": "it has ended"}
        made = result(row(PRODUCT, 30), row(NAIVE, 60), failed)
        assert Figures(made).own_faults() == faults
        text = report(made)
        assert f"**Failed: {bridge}, {MIDDLE}, round 2**: it has ended" in text
        assert "| edge, to naive | 0.50 (0.50 to 0.50) |" in text


def test_what_was_left_out_is_told_with_the_reason() -> None:
    """Beside the tables, where no reader can miss it."""
    text = report(result(row(PRODUCT, 1)))
    assert "**Left out: Node**: node was not found" in text
    assert (
        "Other processes took 0.10 CPUs meanwhile (median; at most 0.10), the load generator at most 0.25."
        in text
    )
