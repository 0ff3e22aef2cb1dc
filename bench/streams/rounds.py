"""Interleaved rounds: each case is put to all bridges, one after the other, in another order each time."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from bench.streams.bridges import Bridge
from bench.streams.cases import WHOLE, Visits
from bench.streams.loader import faults_of
from bench.streams.started import Started, started

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Means:
    """What everything is measured with."""

    loader: Path
    """The program."""
    traces: Mapping[str, str]
    """The variables that turn tracing on, in core and edge."""


class Case(Protocol):
    """Something that is asked of a bridge."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    def run(self, loader: Path, started: Started) -> Row:
        """Measure it once."""


WARM_UP: Final = Visits(20, 5)
"""What each bridge serves before the first round, after WHOLE: compilers and caches are warm then."""


def measure(means: Means, case: Case, bridge: Started, round_number: int) -> Row:
    """Return the row of one case of one bridge, once what was before has come to rest."""
    bridge.wait_quiet()
    kind = type(case).__name__.lower()
    facts = {"round": round_number, "case": kind, "load": case.name, "bridge": bridge.bridge.name}
    row = {**facts, **case.run(means.loader, bridge)}
    show(row)
    return row


def show(row: Mapping[str, Any]) -> None:
    """Tell on standard error how it goes."""
    keys = (
        "tokens_per_s",
        "edge_us_per_token",
        "core_us_per_token",
        "edge_us_per_stream",
        "edge_kib_per_stream",
    )
    told = " ".join(f"{key}={row[key]:.1f}" for key in keys if key in row)
    wrong = f" FAULTS: {faults_of(row)} {row.get('said', '')}" if faults_of(row) else ""
    where = f"round {row['round']}  {row['load']:24} {row['bridge']:18}"
    late = f"p99={row['latency_ms']['p99']:.1f} ms others={row['others_cpus']:.2f}"
    print(f"{where} {told} {late}{wrong}", file=sys.stderr, flush=True)


def interleaved(
    means: Means, cases: Sequence[Case], bridges: Sequence[Bridge], rounds: int, *, first_round: int = 1
) -> list[Row]:
    """Return a row for each round, case and bridge, and one of whole answers for each bridge (round 0).

    All bridges run from the first round to the last.
    """
    rows = []
    with ExitStack() as stack:
        running = [stack.enter_context(started(bridge, means.traces)) for bridge in bridges]
        for each in running:
            rows.append(measure(means, WHOLE, each, 0))
            WARM_UP.run(means.loader, each)
        for number in range(first_round, first_round + rounds):
            for place, case in enumerate(cases):
                order = list(running)
                random.Random(number * len(cases) + place).shuffle(order)  # noqa: S311 # an order, no secret
                rows += [measure(means, case, each, number) for each in order]
    return rows


def on_fresh_processes(means: Means, case: Case, bridges: Sequence[Bridge]) -> list[Row]:
    """Return a row for each bridge, each on processes that have served nothing before."""
    rows = []
    for bridge in bridges:
        with started(bridge, means.traces) as running:
            rows.append(measure(means, case, running, 1))
    return rows
