"""Our edge beside other bridges, under the same load.

    python -m bench.streams [--rounds 5] [--full | --quick] [--out FILE.json]

Every bridge stands before a core of its own, on loopback, all of them at once. They are measured one after
the other, in rounds: a drift of the machine's speed affects all alike. Ratios are computed within a round.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.machine import machine, versions
from bench.result_file import as_text
from bench.streams.bridges import BRIDGES, FULL_BRIDGES, GO, PRODUCT, ROOT, Bridge, buildable
from bench.streams.cases import FIRST_TOKEN, IDLE, LOADS, OPENED_AND_LEFT, QUICK
from bench.streams.figures import Figures
from bench.streams.full import full_rows
from bench.streams.loader import MissingToolError, build_loader
from bench.streams.page import write_page
from bench.streams.rounds import Means, interleaved, on_fresh_processes
from bench.streams.tables import report
from bench.trace_sink import trace_sink
from tokenwire.descriptors import raise_limit

PAGE: Final = ROOT / "docs" / "performance.md"


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description="Our edge beside other bridges, under the same load.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--bridges", help="only these, separated by commas: " + ", ".join(b.name for b in BRIDGES)
    )
    parser.add_argument("--full", action="store_true", help="the cases that take longer instead (15 minutes)")
    parser.add_argument("--only", help="with --full: one group of cases, renewed in the file of --out")
    parser.add_argument("--quick", action="store_true", help="a few seconds in all: does it work?")
    parser.add_argument("--out", type=Path, help="keep the raw rows in this file")
    parser.add_argument(
        "--page",
        type=Path,
        nargs="?",
        const=PAGE,
        help="renew docs/performance.md and its plots from what is kept; alone, nothing is measured",
    )
    parser.add_argument("--show", type=Path, help="measure nothing: print the tables of a file that was kept")
    return parser.parse_args(words)


def chosen(names: str | None, *, full: bool) -> list[Bridge]:
    """Return the bridges of these names; all without names.

    Raises:
        SystemExit: A name is unknown.
    """
    offered = (*BRIDGES, *FULL_BRIDGES) if full else BRIDGES
    known = {bridge.name: bridge for bridge in offered}
    wanted = [name.strip() for name in names.split(",")] if names else list(known)
    if unknown := [name for name in wanted if name not in known]:
        raise SystemExit(f"unknown bridges: {', '.join(unknown)}. There are: {', '.join(known)}")
    return [bridge for bridge in offered if bridge.name in wanted]


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the whole result.

    Raises:
        MissingToolError: Without a C compiler nothing can be measured.
    """
    loader = build_loader()
    raise_limit()
    bridges, left_out = buildable(chosen(arguments.bridges, full=arguments.full))
    for name, why in left_out.items():
        print(f"LEFT OUT: {name}: {why}", file=sys.stderr)
    began = time.monotonic()
    result: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python -m bench.streams", *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions(),
        "bridges": {b.name: {"about": b.about, "versions": b.versions()} for b in bridges},
        "left_out": left_out,
        "full": arguments.full,
        "seconds": 0,
        "rows": [],
    }
    with trace_sink() as sink:
        traces = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": sink, "TOKENWIRE_TRACE_DETAIL": "compact"}
        means = Means(loader, traces)
        if arguments.full:
            result["rows"] += full_rows(means, bridges, arguments.only)
        elif arguments.quick:
            result["rows"] += interleaved(means, QUICK, bridges, 1)
        else:
            cases = (*LOADS, FIRST_TOKEN, OPENED_AND_LEFT)
            result["rows"] += interleaved(means, cases, bridges, arguments.rounds)
            with_memory = [b for b in bridges if b.name in {PRODUCT, GO}]
            result["rows"] += on_fresh_processes(means, IDLE, with_memory)
    result["seconds"] = round(time.monotonic() - began)
    return result


def renewed(kept: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """Return a kept result with the rows of the loads that were measured again; each such time is noted."""
    again = {row["load"] for row in result["rows"]}
    note = {name: result[name] for name in ("date", "command", "machine", "versions")}
    rows = [row for row in kept["rows"] if row["load"] not in again] + result["rows"]
    return {**kept, "renewed": [*kept.get("renewed", []), {**note, "loads": sorted(again)}], "rows": rows}


def main(words: Sequence[str] | None = None) -> int:
    """Print the tables. Return 1 if our edge lost an event or failed a stream; 2 without tools."""
    arguments = parse(words)
    if arguments.page and not arguments.out:
        write_page(arguments.page)
        return 0
    try:
        result = json.loads(arguments.show.read_text()) if arguments.show else measure_all(arguments)
    except MissingToolError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.only and arguments.out and arguments.out.exists():
        result = renewed(json.loads(arguments.out.read_text()), result)
    if arguments.out:
        arguments.out.write_text(as_text(result))
    print(report(result))
    if arguments.page:
        write_page(arguments.page)
    figures = Figures(result)
    return 1 if figures.own_faults() or figures.own_order_faults() else 0


if __name__ == "__main__":
    raise SystemExit(main())
