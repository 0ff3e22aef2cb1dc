"""docs/performance.md and its plots, made from the results that are kept: no number is copied by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from bench.page import write_section
from bench.streams.figures import Figures
from bench.streams.plots import PLOTS
from bench.streams.sizing import sizing, unit_costs
from bench.streams.tables import report

RESULTS: Final = Path(__file__).resolve().parent.parent / "results"
KEPT, KEPT_FULL, KEPT_STORES = (RESULTS / f"{name}.json" for name in ("streams", "streams-full", "run-log"))
IMAGES: Final = "images"
"""The plots' folder, beside the page."""

IN_FULL: Final = frozenset({"latency", "memory"})
"""The plots that need the rows of `--full`."""

NOT_YET: Final = "Not measured yet."


def file_of(plot: str) -> str:
    """Return the name of a plot's file."""
    return f"bench-{plot}.svg"


def begin(section: str) -> str:
    """Return the line before a section."""
    return f"<!-- streams, {section}: written by `python -m bench.streams --page`, do not edit -->"


def end(section: str) -> str:
    """Return the line after a section."""
    return f"<!-- end of streams, {section} -->"


def kept(path: Path) -> dict[str, Any]:
    """Return a result; one without rows if it was not measured."""
    empty: dict[str, Any] = {"rows": [], "bridges": {}}
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else empty


def both(first: Mapping[str, Any], second: Mapping[str, Any]) -> Figures:
    """Return the figures of two results together."""
    bridges = {**first["bridges"], **second["bridges"]}
    return Figures({"rows": [*first["rows"], *second["rows"]], "bridges": bridges})


def plots() -> dict[str, str]:
    """Return the plots that the results give, by name."""
    plain, full = kept(KEPT), kept(KEPT_FULL)
    figures, together = Figures(plain), both(plain, full)
    drawn = {name: make(together if name in IN_FULL else figures) for name, make in PLOTS.items()}
    return {name: svg for name, svg in drawn.items() if svg}


def images(names: Iterable[str]) -> list[str]:
    """Return the lines that show some plots."""
    return [f"![{name.replace('-', ' ')}]({IMAGES}/{file_of(name)})" for name in names]


def sections() -> dict[str, str]:
    """Return the generated sections by name."""
    plain, full, stores, drawn = kept(KEPT), kept(KEPT_FULL), kept(KEPT_STORES), plots()
    costs = unit_costs(both(plain, full), stores)
    tables = {"table": report(plain) if plain["rows"] else "", "full": report(full) if full["rows"] else ""}
    shown = {
        "table": [*images(name for name in drawn if name not in IN_FULL), tables["table"]],
        "full": [*images(name for name in drawn if name in IN_FULL), tables["full"]],
        "sizes": [sizing(costs) if costs else ""],
    }
    return {name: "\n\n".join(filter(None, parts)) or NOT_YET for name, parts in shown.items()}


def write_page(page: Path) -> None:
    """Renew the sections of the page, and the plots beside it."""
    for section, text in sections().items():
        write_section(page, begin(section), end(section), text)
    for name, svg in plots().items():
        (page.parent / IMAGES / file_of(name)).write_text(svg, encoding="utf-8")
