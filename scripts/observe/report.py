"""What is printed in the end: the addresses, and where the example's stall is to be seen."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from scripts.observe import question
from scripts.observe.question import STALLS, Example
from scripts.observe.say import say, short

SHORT_ID: Final = 12


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are; None for what was left out."""

    page: str
    spans: Path
    logs: Path
    phoenix: str | None
    prometheus: str | None


async def look(places: Places, example: Example) -> None:
    """Wait until the stall is where the report says; say where it is not."""
    if places.phoenix and not await question.is_in_phoenix(places.phoenix, example):
        say(f"Phoenix does not show the example's trace: see {short(places.logs)}")
    if places.prometheus and not await question.is_in_prometheus(places.prometheus, example):
        say(f"Prometheus has no exemplar of the example's stall: see {short(places.logs)}")


def text(places: Places, example: Example) -> str:
    """Return the lines to print."""
    stall = example.stall
    command = short(Path(sys.executable).with_name("tokenwire"))
    rows = [
        ("page", places.page),
        ("traces", places.phoenix and f"{places.phoenix}  (Phoenix)"),
        ("metrics", places.prometheus and f"{places.prometheus}  (Prometheus)"),
        ("spans", short(places.spans)),
        ("logs", short(places.logs)),
    ]
    stall_rows = [
        ("in the terminal", f"{command} trace {example.trace_id[:SHORT_ID]} {short(places.spans)}"),
        ("in Phoenix", places.phoenix and f"{places.phoenix}/redirects/traces/{example.trace_id}"),
        ("in Prometheus", places.prometheus and graph_url(places.prometheus)),
        ("its exemplar", places.prometheus and exemplar_url(places.prometheus)),
    ]
    return (
        f"\n{_table(rows)}\n"
        f"An answer stalled at token {stall.sequence} for {stall.ms:.0f} ms, in the hop {stall.hop}. See it\n"
        f"{_table(stall_rows)}\n"
        "Ctrl-C stops all of it.\n"
    )


def graph_url(prometheus: str) -> str:
    """Return the address of Prometheus' page with the stalls of the last minutes."""
    expression = f"sum by (hop) ({STALLS})"
    return f"{prometheus}/graph?{urlencode({'g0.expr': expression, 'g0.tab': 0, 'g0.range_input': '5m'})}"


def exemplar_url(prometheus: str) -> str:
    """Return the address of the stalls' exemplars: their trace ids and tokens, as JSON."""
    return f"{prometheus}/api/v1/query_exemplars?{urlencode(question.exemplar_query())}"


def _table(rows: list[tuple[str, str | None]]) -> str:
    return "".join(f"  {name:<16} {value}\n" for name, value in rows if value)
