"""A result as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from bench.streams.bridges import PRODUCT
from bench.streams.budgets import BUDGETS, CORE, EDGE, FULL_BUDGETS, Budget
from bench.streams.figures import Figures

NONE: Final = "-"


def number(value: float | None, digits: int = 1) -> str:
    """Return a number for a cell."""
    return NONE if value is None else f"{value:,.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """Return a table whose first columns are text and whose others are numbers."""
    align = [":---" if place < left else "---:" for place in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, align, *rows))


def costs(figures: Figures) -> str:
    """Return the table of what a token costs each bridge, side by side."""
    head = ["load", "bridge", "edge µs", "core µs", "tokens/s", "reads a token", "p50 ms", "p99 ms", "faults"]

    def rows() -> Iterator[list[str]]:
        for load in figures.loads("steady"):
            for bridge in figures.bridges:
                cells = [
                    number(figures.median(load, bridge, EDGE)),
                    number(figures.median(load, bridge, CORE)),
                    number(figures.median(load, bridge, "tokens_per_s"), 0),
                    number(figures.median(load, bridge, "reads_per_token"), 2),
                    number(figures.median(load, bridge, "latency_ms.p50")),
                    number(figures.median(load, bridge, "latency_ms.p99")),
                ]
                if set(cells) != {NONE}:
                    yield [load, bridge, *cells, str(figures.faults(load, bridge))]

    return table(head, rows(), 2)


def ratios(figures: Figures) -> str:
    """Return the table of our edge's cost against each other bridge's."""
    loads = figures.loads("steady")

    def row(name: str, peer: str, figure: str) -> list[str]:
        found = (figures.ratio(load, PRODUCT, peer, figure) for load in loads)
        return [name, *(str(each) if each else NONE for each in found)]

    others = [bridge for bridge in figures.bridges if bridge != PRODUCT]
    rows = [row(f"edge, to {peer}", peer, EDGE) for peer in others]
    rows += [row(f"core, to {peer}'s", peer, CORE) for peer in others]
    return table(["CPU a token", *loads], [each for each in rows if set(each[1:]) != {NONE}], 1)


def streams(figures: Figures) -> str:
    """Return the table of what a stream costs, whatever it says."""
    columns = [
        *((load, "first token p50 ms", "first_token_ms.p50", 1.0) for load in figures.loads("visits")),
        *((load, "edge ms a stream", "edge_us_per_stream", 1e-3) for load in figures.loads("visits")),
        *((load, "core ms a stream", "core_us_per_stream", 1e-3) for load in figures.loads("visits")),
        *((load, "edge KiB a stream", "edge_kib_per_stream", 1.0) for load in figures.loads("idle")),
        *((load, "core KiB a stream", "core_kib_per_stream", 1.0) for load in figures.loads("idle")),
        *((load, "edge CPUs", "edge_cpus", 1.0) for load in figures.loads("idle")),
    ]

    def cell(load: str, bridge: str, figure: str, scale: float) -> str:
        value = figures.median(load, bridge, figure)
        return number(None if value is None else value * scale, 2)

    rows = [
        [f"{what}, {load}", *(cell(load, bridge, figure, scale) for bridge in figures.bridges)]
        for load, what, figure, scale in columns
    ]
    return table(["", *figures.bridges], rows, 1)


def extremes(figures: Figures) -> str:
    """Return the table of the cases that only `--full` has."""

    def row(load: str, bridge: str, what: str, figure: str, digits: int = 1) -> list[str]:
        return [load, bridge, what, number(figures.median(load, bridge, figure), digits)]

    def rows() -> Iterator[list[str]]:
        for load in figures.loads("beside"):
            yield row(load, PRODUCT, "latency p50 ms", "latency_ms.p50", 2)
            yield row(load, PRODUCT, "latency p99 ms", "latency_ms.p99", 2)
            yield row(load, PRODUCT, "edge µs a token", EDGE)
        for load in figures.loads("ending"):
            yield row(load, PRODUCT, "cancelled after p50 ms", "cancel_ms.p50", 2)
            yield row(load, PRODUCT, "cancelled after p99 ms", "cancel_ms.p99", 2)
        for load in figures.loads("disconnects"):
            for name in ("core", "edge"):
                yield row(load, PRODUCT, f"{name}: bytes a disconnect", f"{name}_rss_bytes_per_stream")

    return table(["case", "bridge", "what", "median"], rows(), 3)


def verdict(figures: Figures, *, full: bool = False) -> str:
    """Return the table of the budgets: what is wanted, what was measured, and whether it holds."""

    def row(budget: Budget) -> list[str]:
        value = budget.measured(figures)
        limit = f"{'≥' if budget.at_least else '≤'} {budget.limit:,g}{budget.unit}"
        if value is None:
            return [budget.what, limit, NONE, "not measured"]
        return [
            budget.what,
            limit,
            f"{value:,.2f}{budget.unit}",
            "holds" if budget.holds(value) else "**NO**",
        ]

    return table(["budget", "limit", "measured", ""], map(row, FULL_BUDGETS if full else BUDGETS), 1)


def origin(result: Mapping[str, Any]) -> str:
    """Return one paragraph: when and where it was measured, and with which versions."""
    machine = result["machine"]
    where = f"{machine['cores']} cores of {machine['cpu']}, {machine['kernel']}"
    made_of = {
        name: text for bridge in result["bridges"].values() for name, text in bridge["versions"].items()
    }
    versions = ", ".join(
        f"{name} {text}" for name, text in {"python": result["versions"]["python"], **made_of}.items()
    )
    others = sorted(row["others_cpus"] for row in result["rows"] if "others_cpus" in row)
    loader = max(row["loader_cpu_s"] / row["seconds"] for row in result["rows"] if "loader_cpu_s" in row)
    middle, most = others[len(others) // 2], others[-1]
    rounds = max(row["round"] for row in result["rows"])
    return (
        f"Measured on {result['date']} with `{result['command']}`: {rounds} rounds on {where}; {versions}. "
        f"Other processes took {middle:.2f} CPUs meanwhile (median; at most {most:.2f}), "
        f"the load generator at most {loader:.2f}."
        + "".join(
            f" Measured again on {again['date']} with `{again['command']}`: {', '.join(again['loads'])}."
            for again in result.get("renewed", ())
        )
    )


def report(result: Mapping[str, Any]) -> str:
    """Return everything that a result says."""
    figures = Figures(result)
    left_out = [f"**Left out: {name}**: {why}" for name, why in result["left_out"].items()]
    failed = [
        f"**Failed: {row['bridge']}, {row['load']}, round {row['round']}**: {row['failed']}"
        for row in figures.failed
    ]
    full = bool(result.get("full"))
    parts = [
        origin(result),
        *left_out,
        *failed,
        costs(figures),
        "Ratios are those of one round: the median of all rounds (least to most).",
        ratios(figures),
        streams(figures),
        *([extremes(figures)] if full else []),
        verdict(figures, full=full),
    ]
    return "\n\n".join(parts)
