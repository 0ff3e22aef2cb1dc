"""What `--full` measures besides: other bridges, other loads, and the extremes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from bench.streams.bridges import GATEWAY, GO, NAIVE, NODE, PRODUCT, TWO_WORKERS, Bridge
from bench.streams.cases import LOADS, Idle, Steady, Visits
from bench.streams.extremes import FLOOD, IDLE, Beside, Disconnects, Ending
from bench.streams.loader import FAULTS
from bench.streams.rounds import Means, Row, attempt, interleaved, measure, on_fresh_processes
from bench.streams.started import started

ROUNDS: Final = 3
RATES: Final = (5.0, 10.0, 20.0, 30.0, 40.0, 50.0)
"""Tokens a second of each of 500 streams: how latency grows with the load."""
SWEEP: Final = tuple(Steady(500, rate, open_s=3) for rate in RATES)
IDLE_STREAMS: Final = tuple(Idle(count) for count in (1000, 2500, 10_000))
MANY: Final = Steady(1000, 25, open_s=3)
STORM: Final = Visits(1000, 1000)
ROUNDS_OF_TAILS: Final = 7
TAIL_S: Final = 6.0
"""A p99 is compared: in a window of two seconds one hiccup of the machine decides it (0.7 to 6.8 ms seen)."""
STUCK: Final = Beside(Steady(500, 20, window_s=TAIL_S), 1, FLOOD, "that never reads")
NONE_STUCK: Final = Beside(Steady(500, 20, window_s=TAIL_S), 0, FLOOD, "that never read")
CROWDED: Final = Beside(Steady(100, 50, open_s=11), 5000, IDLE, "idle")
ALONE: Final = Beside(Steady(100, 50), 0, IDLE, "idle")
DISCONNECTS: Final = Disconnects(100_000)


def _named(bridges: Sequence[Bridge], *names: str) -> list[Bridge]:
    return [bridge for bridge in bridges if bridge.name in names]


def groups(means: Means, bridges: Sequence[Bridge]) -> dict[str, Callable[[], Iterable[Row]]]:
    """Return what measures each group of cases, by the group's name, in their order.

    Args:
        means: What everything is measured with.
        bridges: Those that can run here.
    """
    ours, others = _named(bridges, PRODUCT), _named(bridges, PRODUCT, NAIVE, GO, NODE)
    return {
        "loads": lambda: interleaved(means, LOADS, _named(bridges, PRODUCT, GO, GATEWAY), ROUNDS),
        "sweep": lambda: interleaved(means, SWEEP, others, 1, first_round=11),
        "storm": lambda: interleaved(means, [STORM], others, ROUNDS),
        "stuck": lambda: interleaved(means, [STUCK, NONE_STUCK], ours, ROUNDS_OF_TAILS),
        "crowd": lambda: interleaved(means, [CROWDED, ALONE], ours, ROUNDS),
        "workers": lambda: interleaved(means, [MANY], _named(bridges, PRODUCT, TWO_WORKERS), ROUNDS),
        "idle": lambda: chain.from_iterable(on_fresh_processes(means, case, others) for case in IDLE_STREAMS),
        "endings": lambda: chain.from_iterable(endings(means, bridge) for bridge in ours),
        "disconnects": lambda: (disconnects(means, bridge) for bridge in ours),
    }


def full_rows(means: Means, bridges: Sequence[Bridge], only: str | None = None) -> list[Row]:
    """Return all rows, in about 15 minutes, or those of one group.

    Args:
        means: What everything is measured with.
        bridges: Those that can run here.
        only: The name of a group.

    Raises:
        SystemExit: There is no such group.
    """
    named = groups(means, bridges)
    if only is None:
        return list(chain.from_iterable(measured() for measured in named.values()))
    if only not in named:
        raise SystemExit(f"unknown group: {only}. There are: {', '.join(named)}")
    return list(named[only]())


def endings(means: Means, bridge: Bridge, *, streams: int = 500, rounds: int = ROUNDS) -> Iterator[Row]:
    """Yield the rows of streams that are left and stopped, 100 and 1,000 a second."""
    with tempfile.TemporaryDirectory(prefix="tokenwire-cancel-") as folder:
        cases = [
            Ending(how, streams, 20, streams / per_s, Path(folder) / "cancelled")
            for how in ("leave", "stop")
            for per_s in (100, 1000)
        ]
        with started(bridge, means.traces, core_settings=cases[0].core_settings) as running:
            for number in range(1, rounds + 1):
                for case in cases:
                    yield measure(means, case, running, number)


def disconnects(means: Means, bridge: Bridge, case: Disconnects = DISCONNECTS) -> Row:
    """Return the row of very many streams that are left at their first token."""
    facts = {"round": 1, "case": "disconnects", "load": case.name, "bridge": bridge.name}
    variables = {**means.traces, **bridge.settings}
    return attempt(facts, lambda: {**dict.fromkeys(FAULTS, 0), **case.run(means.loader, variables)})
