"""Ten minutes of mixed load on a core and an edge: does anything grow, is anything lost?

    python -m bench.soak [--seconds 600] [--rate 39] [--store memory|redis] [--json bench/results/soak.json]

A real core and a real edge, each a process of its own on loopback. Some 39 visitors a second start runs,
short ones and long ones, read them, leave them and come back to them at their cursors, drop and reset their
connections, stop runs, stall, send half a request, or start a run that is not followed for a while;
each reads its run to the end and counts what is missing or comes twice. What ended is kept for 20 s, so that
the log soon holds as much as it will ever hold.

Prints a row each 30 s. In the end nothing may have grown after the first minute, and once all visitors have
gone everything must be back where it was before the first one. Exit status: 0 when all of it held, 1 when
not. It needs a machine with two processors to itself: on one that does not keep up, fewer visitors come, and
runs are forgotten before they are read (RUN_UNKNOWN); lower --rate there.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.gauged import Gauges
from bench.machine import busy_since, machine, processor_ticks, versions
from bench.mixed_load import Tally, Times, Visitors
from bench.result_file import as_text
from bench.stand import Stand, base_of, settled, standing
from tests.support.memory import rss_bytes

ENOUGH: Final = 2
"""Samples that a straight line needs."""

FIRST_S: Final = 1.0
"""How long visitors come before the base is read."""

SAMPLE_S: Final = 1.0
"""How often memory is looked at, for the straight line through all of it."""

TIMES: Final = Times()

PROCESSES: Final = ("core", "edge")

SHOWN: Final = ("rss_mb", "malloc_mb", "descriptors", "threads", "tasks", "calls")
"""The gauges of each row."""

MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Plan:
    """What is tried, and how much may grow."""

    seconds: float = 600
    rate: float = 39
    """Visitors a second."""
    every_s: float = 30
    """Between two rows."""
    retention_s: float = 20
    """How long an ended run is kept."""
    kept: frozenset[str] = frozenset()
    """Gauges that need not be back at their base in the end."""
    times: Times = TIMES
    warm_up: int = 60 * 39
    """After so many visitors, a minute's, the log and the allocator have their size: what has grown by then
    does not count."""
    growth: float = 0.05
    """The share by which a process's memory may grow between then and the end."""
    store: str = "memory"
    seed: int = 1

    @property
    def settings(self) -> dict[str, str]:
        """The variables of core and edge."""
        return {
            "TOKENWIRE_AGENT": "pace",
            "TOKENWIRE_LOG_RETENTION_S": f"{self.retention_s:g}",
            "TOKENWIRE_SESSION_RETENTION_S": f"{self.retention_s:g}",
            "TOKENWIRE_DISCONNECT_GRACE_S": f"{self.times.grace_s:g}",
            "TOKENWIRE_WRITE_DEADLINE_S": f"{self.times.write_deadline_s:g}",
            "TOKENWIRE_DRAIN_S": "1",
            "TOKENWIRE_LOG_LEVEL": "error",
            # All visitors are one principal.
            "TOKENWIRE_MAX_STREAMS_PER_PRINCIPAL": "0",
            "TOKENWIRE_STARTS_PER_MINUTE": "0",
            "TOKENWIRE_MAX_PRINCIPAL_RUNS": "0",
            "TOKENWIRE_MAX_PRINCIPAL_STARTS_PER_MINUTE": "0",
            "TOKENWIRE_MAX_PRINCIPAL_FOLLOWS": "0",
        }


QUICK: Final[dict[str, Any]] = {
    "seconds": 3,
    "rate": 15,
    "every_s": 1,
    "retention_s": 60,
    "kept": frozenset({"stored_runs", "stored_bytes"}),  # It is not waited for that they are forgotten.
    "times": Times(1.5),
    "warm_up": 10,
    "growth": 1,  # A process that has just begun to work grows.
}
"""What is different where it is only tried whether it runs."""


@dataclass
class Series:
    """What was seen in the course of it."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, list[tuple[float, float]]] = field(
        default_factory=lambda: {process: [] for process in PROCESSES}
    )
    """By process: when, in seconds since the beginning, and its RSS in bytes."""
    warm_s: float = inf
    """When the warm-up was over."""

    def warm(self, process: str) -> list[tuple[float, float]]:
        """Return a process's samples since the warm-up."""
        return [sample for sample in self.memory[process] if sample[0] >= self.warm_s]


def growth_of(samples: Sequence[tuple[float, float]]) -> float:
    """Return by what share a value has grown over its samples, by least squares.

    A straight line through all samples, since RSS swings by some percent with what happens to be stored: its
    rise, as a share of where it begins.

    Args:
        samples: When, and how much.
    """
    times = [when for when, _ in samples]
    line = statistics.linear_regression(times, [value for _, value in samples])
    first, last = (line.intercept + line.slope * when for when in (times[0], times[-1]))
    return last / first - 1


def swing_of(samples: Sequence[tuple[float, float]]) -> float:
    """Return how far the highest sample is above the lowest, as a share of the lowest."""
    values = [value for _, value in samples]
    return max(values) / min(values) - 1


def judge(plan: Plan, series: Series, tally: Tally, left: dict[str, str]) -> list[str]:
    """Return what did not hold; nothing when all did.

    Args:
        plan: What was tried.
        series: What was seen in the course of it.
        tally: What the visitors saw.
        left: The gauges that are not back at their base, with what they are and should be.
    """
    failures = [f"{name} is {what} at rest" for name, what in left.items()]
    for process in PROCESSES:
        samples = series.warm(process)
        if len(samples) < ENOUGH:
            came = tally.visits.total()
            failures.append(f"too short: {plan.warm_up} visitors are the warm-up, and {came} came")
            break
        grown = growth_of(samples)
        if grown > plan.growth:
            failures.append(f"{process}: RSS grew by {grown:.1%}, over {plan.growth:.0%}")
        threads = [row[process]["threads"] for row in series.rows if row["seconds"] >= series.warm_s]
        if threads and threads[-1] > max(threads[: len(threads) // 2 + 1]):
            failures.append(f"{process}: threads went from {threads[0]} to {threads[-1]}")
    if tally.lost or tally.duplicated:
        failures.append(f"{tally.lost} events lost, {tally.duplicated} came twice")
    if tally.ended_once != tally.runs:
        failures.append(f"{tally.runs - tally.ended_once} of {tally.runs} runs did not end once")
    if tally.faults:
        # RUN_UNKNOWN: the run was forgotten before it was read, by a machine that does not keep up.
        failures.append(f"{tally.faults} times something was wrong, such as: {'; '.join(tally.wrong[:3])}")
    return failures


def row_of(
    seconds: float, gauges: dict[str, Gauges], memory: dict[str, int], seen: Visitors
) -> dict[str, Any]:
    """Return one row."""
    tally = seen.tally
    return {
        "seconds": round(seconds),
        "visitors": tally.visits.total(),
        "live": seen.live,
        "runs": tally.runs,
        "ended_once": tally.ended_once,
        "lost": tally.lost,
        "duplicated": tally.duplicated,
        "faults": tally.faults,
        **{process: {**gauges[process], "rss_bytes": memory[process]} for process in PROCESSES},
    }


def line_of(row: dict[str, Any]) -> str:
    """Return a row as it is printed."""
    told = []
    for process in PROCESSES:
        gauges = {
            **row[process],
            "rss_mb": round(row[process]["rss_bytes"] / MIB),
            "malloc_mb": round(row[process]["allocated_bytes"] / MIB),
        }
        told.append(f"{process} " + " ".join(f"{name} {gauges[name]}" for name in SHOWN))
    counts = ("visitors", "live", "runs", "ended_once", "lost", "duplicated", "faults")
    return f"{row['seconds']:4d} s  {' | '.join([*told, ' '.join(f'{name} {row[name]}' for name in counts)])}"


async def watch(stand: Stand, plan: Plan, seen: Visitors, series: Series) -> None:
    """Look at the processes until cancelled."""
    loop = asyncio.get_running_loop()
    begin, due_s, told = loop.time(), plan.every_s, 0
    pids = {"core": stand.core.pid, "edge": stand.edge.pid}
    while True:
        await asyncio.sleep(SAMPLE_S)
        seconds = loop.time() - begin
        # From outside, and before the processes count their objects for the other gauges.
        memory = {process: rss_bytes(pid) for process, pid in pids.items()}
        for process, held_bytes in memory.items():
            series.memory[process].append((seconds, held_bytes))
        if seen.tally.visits.total() >= plan.warm_up:
            series.warm_s = min(series.warm_s, seconds)
        if seconds >= due_s:
            due_s += plan.every_s
            series.rows.append(row_of(seconds, await stand.gauges(), memory, seen))
            print(line_of(series.rows[-1]), flush=True)
            for text in seen.tally.wrong[told:]:
                print(f"WRONG: {text}", flush=True)
            told = len(seen.tally.wrong)


async def soak(stand: Stand, plan: Plan) -> dict[str, Any]:
    """Let visitors come and go for so long. Return the result."""
    edges = (stand.address[1],)
    # What is made once for all is made by then.
    await Visitors(edges, plan.rate, plan.seed, plan.times).come(_for_s(FIRST_S))
    base, left = await base_of(stand, plan.kept)
    seen, series = Visitors(edges, plan.rate, plan.seed, plan.times), Series()
    ticks = processor_ticks()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch(stand, plan, seen, series))
        await seen.come(_for_s(plan.seconds))
        watching.cancel()
    busy = busy_since(ticks)
    rest, still_left = await settled(stand, base, plan.kept)
    warm = {process: series.warm(process) for process in PROCESSES}
    told = {process: samples for process, samples in warm.items() if len(samples) >= ENOUGH}
    return {
        "failures": judge(plan, series, seen.tally, left | still_left),
        "growth": {process: round(growth_of(samples), 4) for process, samples in told.items()},
        "swing": {process: round(swing_of(samples), 4) for process, samples in told.items()},
        "warm_s": round(series.warm_s, 1) if told else None,
        "machine_busy": round(busy, 2),
        "tally": seen.tally.as_json(),
        "base": base,
        "rest": rest,
        "rss_each_second_mib": {
            process: " ".join(f"{held_bytes / MIB:.1f}" for _, held_bytes in samples)
            for process, samples in series.memory.items()
        },
        "rows": series.rows,
    }


def summary_of(result: dict[str, Any]) -> str:
    """Return the last line but for what failed."""
    tally = result["tally"]
    memory = (
        f"{process} {grown:+.1%} ({result['swing'][process]:.1%} between lowest and highest)"
        for process, grown in result["growth"].items()
    )
    return (
        f"{tally['runs']} runs, {tally['ended_once']} ended once, {tally['lost']} events lost, "
        f"{tally['duplicated']} came twice; RSS since the warm-up, by a straight line: {', '.join(memory)}"
    )


def _for_s(seconds: float) -> Callable[[], bool]:
    """Return what holds for so long from now on."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def main(words: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 when nothing grew and nothing was lost."""
    parser = argparse.ArgumentParser(description="Mixed load: does anything grow, is anything lost?")
    parser.add_argument("--seconds", type=float, default=Plan.seconds)
    parser.add_argument("--rate", type=float, default=Plan.rate, help="visitors a second")
    parser.add_argument("--store", choices=("memory", "redis"), default=Plan.store)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--quick", action="store_true", help="a few seconds: does it run?")
    parser.add_argument("--json", type=Path, help="keep the rows")
    arguments = parser.parse_args(words)
    plan = Plan(arguments.seconds, arguments.rate, store=arguments.store, seed=arguments.seed)
    if arguments.quick:
        plan = replace(plan, **QUICK)
    with standing(plan.store, plan.settings) as stand:
        result = uvloop.run(soak(stand, plan))
    print(summary_of(result))
    for failure in result["failures"]:
        print(f"FAILED: {failure}")
    if arguments.json:
        date = datetime.now(UTC).isoformat(timespec="seconds")
        facts = {
            "date": date,
            "machine": machine(),
            "versions": versions(),
            "plan": asdict(plan) | {"kept": sorted(plan.kept)},
        }
        arguments.json.write_text(as_text(facts | result))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
