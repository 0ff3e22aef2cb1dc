"""Restart two edges and two cores, one after the other, under live streams, and count what was lost.

    python -m bench.rolling_restart [--streams 200] [--drain SECONDS] [--nginx] [--json FILE]

A real Redis, two `tokenwire core` on it, two `tokenwire edge --core A,B`, and as many clients as there are
streams; each has a stream of numbered tokens open all the time. Each process gets SIGTERM, is waited for,
and is started again on its port; the next one follows when that one is ready. With a drain that is longer
than a run every run ends in `done`; with a shorter one those that a core had to stop end in the core's own
error. Either way: exit status 0 only where no event was lost or came twice, and every run ended once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from signal import SIGTERM
from typing import Any, Final

from bench.checking_clients import Crowd, Order, Watched
from bench.machine import busy_since, machine, processor_ticks, versions
from tests.support import nginx, system
from tests.support.processes import Processes, Running, free_port
from tests.support.redis_server import RedisServer

AGENT: Final = "pace"
STOPPED: Final = "CORE_SHUTDOWN"
"""The reason in the error of a run that its core had to stop."""

EXIT_S: Final = 20.0
"""How long a process may take to end beyond its drain time."""

LIVE_S: Final = 120.0
"""How long it may take until all streams are live, and how much longer than a run until all have ended."""


@dataclass(frozen=True)
class Plan:
    """What is tried."""

    streams: int = 200
    rate: float = 10.0
    """Tokens a second of each stream."""
    tokens: int = 400
    """Tokens of each run."""
    drain_s: float | None = None
    """How long a core lets its runs go on; None for as long as they take."""
    pause_s: float = 3.0
    """Between one process's being ready and the next one's SIGTERM."""
    down_s: float = 0.0
    """How long a process stays away before it is started again."""
    restarts: tuple[str, ...] = ("edge 1", "core 1", "edge 2", "core 2")
    """What is restarted, in this order."""
    nginx: bool = False
    """Whether clients come through nginx with deploy/proxies/nginx.conf, and not to the edges themselves."""
    cores: int = 2

    @property
    def run_s(self) -> float:
        """How long a run takes."""
        return self.tokens / self.rate

    @property
    def core_drain_s(self) -> float:
        """How long a core lets its runs go on."""
        return self.run_s + EXIT_S if self.drain_s is None else self.drain_s


@dataclass
class Report:
    """What came of it."""

    streams: int
    runs: int
    lost: int
    duplicated: int
    ended_once: int
    ends: dict[str, int]
    reconnects: int
    interruptions: dict[str, int]
    """How connections ended before their runs did."""
    longest_silence_s: float
    """Of any stream, between two events."""
    silence_p50_s: float
    """The longest silence of a run in the middle of all runs."""
    longest_silences: list[str]
    """The five longest, and before which event they were: the first one comes with a run's beginning."""
    machine_busy: float
    """The share of the machine's processors, while streams were live."""
    restarts: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, doubled, or left without its end."""
        return not (self.wrong or self.lost or self.duplicated) and self.ended_once == self.runs

    def __str__(self) -> str:
        """Return the last line."""
        done = self.ends.get("done", 0)
        return (
            f"{self.streams} streams, {self.runs} runs: {self.lost} lost, {self.duplicated} duplicated, "
            f"{self.ended_once} ended once ({done} done, {sum(self.ends.values()) - done} error), "
            f"{self.reconnects} reconnects, longest silence {self.longest_silence_s:.1f} s"
        )


class Site:
    """The processes.

    Args:
        processes: Starts them.
        plan: What is tried.
        redis: The store.
    """

    def __init__(self, processes: Processes, plan: Plan, redis: RedisServer) -> None:
        self._processes = processes
        self._plan = plan
        self._core_settings = {
            "TOKENWIRE_STORE": redis.url,
            "TOKENWIRE_AGENT": AGENT,
            "TOKENWIRE_DRAIN_S": f"{plan.core_drain_s:g}",
        }
        self.core_ports = tuple(free_port() for _ in range(plan.cores))
        self.edge_ports: tuple[int, ...] = (free_port(), free_port())
        self._running: dict[str, Running] = {}

    def start(self, name: str) -> None:
        """Start `core 1` or another one, and return when it is ready."""
        kind, _, number = name.partition(" ")
        if kind == "core":
            port = self.core_ports[int(number) - 1]
            _, process = self._processes.core(port, agents=(), settings=self._core_settings)
        else:
            port = self.edge_ports[int(number) - 1]
            cores = ",".join(f"127.0.0.1:{port}" for port in self.core_ports)
            _, process = self._processes.edge(cores, port)
        self._running[name] = process

    def restart(self, name: str, crowd: Crowd) -> dict[str, Any]:
        """Restart one of them in good order. Return what was seen of it."""
        live, begin = crowd.live, time.monotonic()
        process = self._running[name]
        process.send(SIGTERM)
        status = process.wait(self._plan.core_drain_s + EXIT_S)
        ended = time.monotonic()
        time.sleep(self._plan.down_s)
        self.start(name)
        return {
            "process": name,
            "live_streams": live,
            "exit_status": status,
            "to_exit_s": round(ended - begin, 2),
            "to_ready_s": round(time.monotonic() - ended, 2),
        }


def run(plan: Plan, folder: Path, say: Callable[[str], None] = lambda _: None) -> Report:
    """Restart everything once, under live streams.

    Args:
        plan: What is tried.
        folder: Where the processes' output goes.
        say: Called with each step.

    Raises:
        AssertionError: A process did not start, or did not end.
        RuntimeError: The streams did not begin, or did not end.
    """
    processes = Processes(folder)
    redis = RedisServer(folder)
    try:
        site = Site(processes, plan, redis)
        for name in (*(f"core {number + 1}" for number in range(plan.cores)), "edge 1", "edge 2"):
            site.start(name)
        doors = site.edge_ports
        if plan.nginx:
            doors = (nginx.start(processes, folder / "nginx", site.edge_ports),)
        crowd = Crowd(Order(doors, plan.tokens, plan.rate), plan.streams)
        crowd.start()
        try:
            _wait_until_live(crowd, plan)
            return _restart_all(site, crowd, plan, say)
        finally:
            crowd.abandon()
    finally:
        processes.stop_all()
        redis.stop()


def _wait_until_live(crowd: Crowd, plan: Plan) -> None:
    """Return when every stream has begun."""
    deadline = time.monotonic() + LIVE_S
    while crowd.live < plan.streams * 0.95:
        if not crowd.running or time.monotonic() > deadline:
            wrong = [text for run in crowd.runs for text in run.wrong]
            raise RuntimeError(f"only {crowd.live} of {plan.streams} streams are live: {wrong[:3]}")
        time.sleep(0.1)


def _restart_all(site: Site, crowd: Crowd, plan: Plan, say: Callable[[str], None]) -> Report:
    say(f"{crowd.live} streams are live")
    processor = processor_ticks()
    restarts = []
    for name in plan.restarts:
        time.sleep(plan.pause_s)
        restarts.append(site.restart(name, crowd))
        say(
            "{process}: {live_streams} streams live, ended after {to_exit_s} s with status {exit_status}, "
            "ready again after {to_ready_s} s".format(**restarts[-1])
        )
    time.sleep(plan.pause_s)
    busy = busy_since(processor)
    crowd.finish(plan.run_s + LIVE_S)
    return report(plan, crowd.runs, restarts, busy)


def report(plan: Plan, runs: Sequence[Watched], restarts: list[dict[str, Any]], busy: float) -> Report:
    """Return what came of it all."""
    ends = Counter(end for run in runs for end in run.ends)
    silences = sorted(run.silence_s for run in runs)
    longest = sorted(runs, key=lambda run: -run.silence_s)[:5]
    interruptions: Counter[str] = sum((run.interruptions for run in runs), Counter())
    wrong = [f"run {run.run_id or '(never named)'}: {text}" for run in runs for text in run.wrong]
    wrong += [
        f"{each['process']} ended with status {each['exit_status']}"
        for each in restarts
        if each["exit_status"] != 0
    ]
    allowed = {"done"} if plan.drain_s is None else {"done", STOPPED}
    wrong += [f"{count} runs ended in {end}" for end, count in ends.items() if end not in allowed]
    return Report(
        streams=plan.streams,
        runs=len(runs),
        lost=sum(run.lost for run in runs),
        duplicated=sum(run.duplicated for run in runs),
        ended_once=sum(len(run.ends) == 1 for run in runs),
        ends=dict(ends),
        reconnects=sum(interruptions.values()),
        interruptions=dict(interruptions),
        longest_silence_s=round(silences[-1], 2),
        silence_p50_s=round(silences[len(silences) // 2], 2),
        longest_silences=[
            f"{run.silence_s:.2f} s before event {run.silent_before} of {run.run_id}" for run in longest
        ],
        machine_busy=round(busy, 2),
        restarts=restarts,
        wrong=wrong,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 when nothing was lost."""
    parser = argparse.ArgumentParser(description="Rolling restart under live streams.")
    parser.add_argument("--streams", type=int, default=Plan.streams)
    parser.add_argument("--rate", type=float, default=Plan.rate, help="tokens a second of each stream")
    parser.add_argument("--tokens", type=int, default=Plan.tokens, help="tokens of each run")
    parser.add_argument(
        "--drain", type=float, help="seconds that a core lets its runs go on (default: to their end)"
    )
    parser.add_argument("--nginx", action="store_true", help="clients come through nginx, not to the edges")
    parser.add_argument("--json", type=Path, help="keep the report")
    arguments = parser.parse_args(words)
    if system.find("redis") is None:
        print("neither redis-server nor valkey-server is on this machine", file=sys.stderr)
        return 1
    plan = Plan(arguments.streams, arguments.rate, arguments.tokens, arguments.drain, nginx=arguments.nginx)
    folder = Path(tempfile.mkdtemp(prefix="tokenwire-rolling-"))
    kept = f"what the processes said is in {folder}"
    try:
        result = run(plan, folder, say=partial(print, flush=True))
    except BaseException:
        print(kept, file=sys.stderr)
        raise
    for text in result.wrong[:20]:
        print(f"WRONG: {text}")
    print(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(_kept(plan, result), indent=1) + "\n")
    if not result.ok:
        print(kept, file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


def _kept(plan: Plan, result: Report) -> dict[str, Any]:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "date": date,
        "machine": machine(),
        "versions": versions(),
        "plan": asdict(plan),
        "line": str(result),
        "report": asdict(result),
    }


if __name__ == "__main__":
    raise SystemExit(main())
