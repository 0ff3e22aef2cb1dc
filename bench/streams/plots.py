"""The plots of the page, made from results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bench.streams.bridges import GO, NAIVE, NODE, PRODUCT, PRODUCT_CALLS, RAW
from bench.streams.budgets import CORE, EDGE, FULL
from bench.streams.cases import LOADS
from bench.streams.figures import Figures
from bench.streams.svg import Text, bars, lines

COLORS: Final = {
    PRODUCT: "#0b7a5b",
    PRODUCT_CALLS: "#7fb8a6",
    NAIVE: "#c4532d",
    GO: "#3366aa",
    NODE: "#8a5fb0",
    RAW: "#767676",
}
OFFERED: Final = "tokens a second that the streams ask for"


def _bars(figures: Figures, about: Text, figure: str, loads: Sequence[str]) -> str | None:
    groups = {
        bridge: values
        for bridge in figures.bridges
        if any(values := [figures.median(load, bridge, figure) for load in loads])
    }
    return bars(about, groups, loads) if groups else None


def edge_cpu(figures: Figures) -> str | None:
    """Return the plot of what a token costs each edge."""
    text = Text(
        "CPU of the edge for one token",
        "One frame a token, traces on at Tokenwire. Raw uvloop writes the same frames without a core.",
        "µs, all threads of the process",
        colors=COLORS,
    )
    return _bars(figures, text, EDGE, [case.name for case in LOADS])


def core_cpu(figures: Figures) -> str | None:
    """Return the plot of what a token costs the core behind each bridge."""
    text = Text(
        "CPU of the core for one token, by the bridge before it",
        "The same core: over a link, or with a call for each stream.",
        "µs, all threads of the process",
        colors=COLORS,
    )
    return _bars(figures, text, CORE, [case.name for case in LOADS])


def throughput(figures: Figures) -> str | None:
    """Return the plot of what each bridge delivers at the highest load."""
    text = Text(
        "Tokens delivered in a second",
        f"Asked for: {FULL}, that is 25,000 a second, of one core and one edge process.",
        "tokens/s",
        colors=COLORS,
    )
    return _bars(figures, text, "tokens_per_s", [FULL])


def latency(figures: Figures) -> str | None:
    """Return the plot of p99 against the load."""
    sweep = sorted(
        (float(load.split(" x ")[1].removesuffix("/s")), load)
        for load in figures.loads("steady")
        if load.startswith("500 x ")
    )
    series = {}
    for bridge in figures.bridges:
        found = [(500 * rate, figures.median(load, bridge, "latency_ms.p99")) for rate, load in sweep]
        points = [(x, y) for x, y in found if y]
        if len(points) > 2 and bridge != PRODUCT_CALLS:
            series[bridge] = points
    text = Text(
        "Latency against load: p99 from the agent's yield to the client's read",
        "500 streams, one core and one edge process. Lower is better; the scale is logarithmic.",
        OFFERED,
        "ms",
        colors=COLORS,
    )
    return lines(text, series, log_y=True) if series else None


def memory(figures: Figures) -> str | None:
    """Return the plot of the edge's memory against open streams."""
    series = {}
    for bridge in figures.bridges:
        points = []
        for load in figures.loads("idle"):
            streams = float(load.split()[0].replace(",", ""))
            kib = figures.median(load, bridge, "edge_kib_per_stream")
            points += [(streams, kib * streams / 1024)] if kib else []
        if len(points) > 1:
            series[bridge] = sorted(points)
    text = Text(
        "Memory of the edge against open streams",
        "By how much the process grew when so many idle streams were opened.",
        "open streams that say nothing",
        "MiB",
        colors=COLORS,
    )
    return lines(text, series) if series else None


PLOTS: Final[Mapping[str, Callable[[Figures], str | None]]] = {
    "edge-cpu": edge_cpu,
    "core-cpu": core_cpu,
    "throughput": throughput,
    "latency": latency,
    "memory": memory,
}
"""By the name of the file."""
