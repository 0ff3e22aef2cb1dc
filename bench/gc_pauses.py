"""How long the garbage collector keeps a core's streams waiting, under each way of setting it up.

    python -m bench.gc_pauses [--rounds 5] [--seconds 20] [--streams 500] [--rate 50] [--out rows.json]

The core's machinery of runs on the memory log, which is filled with ended runs before, in a process of its
own for each row, that has imported what a core imports. The runs are short, so that some end and begin at
any time; one task reads all of them, as a link's writer does. The rounds are interleaved (A B C, A B C, …).
Pauses are counted in the CPU time of the thread: on a busy machine they take longer, for each way alike.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import random
import statistics
import subprocess
import sys
import time
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop
from opentelemetry.context import Context

from agent_core.agents.catalogue import NamedAgent
from agent_core.agents.events import AgentEvent, RunRequest
from agent_core.agents.pace import PaceOrder, pace
from agent_core.log.contract import START, Batch, End, RunRecord
from agent_core.log.encoding import encode_payload, new_event
from agent_core.log.memory.log import MemoryLog
from agent_core.log.outcome import Outcome
from agent_core.rpc.responses import ResponseEncoder
from agent_core.runs.follower import Follower, FollowRequest
from agent_core.runs.limits import RunLimits
from agent_core.runs.manager import RunManager
from bench.machine import machine, versions
from bench.result_file import as_text
from tokenwire.garbage import GarbageCollection
from tokenwire.telemetry import monotonic_nano
from tokenwire.v1.run_pb2 import ON_DISCONNECT_CONTINUE, RunSpec

OWNER: Final = "bench"
SEED: Final = 7
RUN_S: Final = 5.0
"""How long a run takes: a stream is one after another."""

FILL_RUN: Final = 5_000
"""Events of each of the ended runs with which the log is filled."""

CORE: Final = "agent_core.server"
"""What is imported besides, so that as much lies about as in a core."""


@contextmanager
def _python() -> Iterator[None]:
    yield


@contextmanager
def _frozen() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    yield


@contextmanager
def _off() -> Iterator[None]:
    gc.disable()
    yield


@contextmanager
def _tokenwire() -> Iterator[None]:
    with GarbageCollection():
        yield


WAYS: Final[dict[str, Callable[[], Any]]] = {
    "python": _python,
    "frozen": _frozen,
    "tokenwire": _tokenwire,
    "off": _off,
}
"""By name: as CPython comes; that, with all from before serving left out; as the product does; not at all."""


class Pauses:
    """Counts collections, from `reset` on."""

    def __init__(self) -> None:
        self.reset()
        gc.callbacks.append(self._told)

    def reset(self) -> None:
        """Begin to count."""
        self.nanos: tuple[list[int], ...] = ([], [], [])
        """How long each collection took, by generation, in nanoseconds of CPU time."""
        self._began = 0

    def row(self) -> dict[str, Any]:
        """Return what was counted."""
        row: dict[str, Any] = {}
        for generation, nanos in enumerate(self.nanos):
            row[f"gen{generation}_count"] = len(nanos)
            row[f"gen{generation}_ms"] = round(sum(nanos) / 1e6, 1)
            row[f"gen{generation}_max_ms"] = round(max(nanos, default=0) / 1e6, 2)
        return row

    def _told(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.thread_time_ns()
        else:
            self.nanos[info["generation"]].append(time.thread_time_ns() - self._began)


class Streams:
    """Streams that each are one run after another, and the one task that reads all of them.

    Args:
        manager: The runs.
        rate: Tokens a second of a run.
    """

    def __init__(self, manager: RunManager, rate: float) -> None:
        self._manager = manager
        self._rate = rate
        self._yields: dict[str, array[int]] = {}
        self._ready: dict[Follower, ResponseEncoder] = {}
        self._news = asyncio.Event()
        self._ends: dict[Follower, asyncio.Future[None]] = {}
        self.latencies: array[int] = array("q")
        """From the agent's yield until its response was encoded, in nanoseconds, of every token."""

    async def agent(self, request: RunRequest) -> AsyncIterator[AgentEvent | str]:
        """Yield what `pace` yields, and note when."""
        stamp = self._yields.setdefault(request.run_id, array("q")).append
        async for item in pace(request):
            stamp(time.perf_counter_ns())
            yield item

    async def stream(self, delay_s: float) -> None:
        """Have one run after another."""
        await asyncio.sleep(delay_s)
        order = PaceOrder(tokens=max(1, round(self._rate * RUN_S)), rate=self._rate)
        spec = RunSpec(message=msgspec.json.encode(order).decode())
        while True:
            run_id = await self._manager.start(
                spec,
                NamedAgent("pace", self.agent),
                owner=OWNER,
                on_disconnect=ON_DISCONNECT_CONTINUE,
                parent=Context(),
            )
            follower = await self._manager.follow(
                FollowRequest(run_id, OWNER, START, relay=True, say_caught_up=False)
            )
            end = self._ends[follower] = asyncio.get_running_loop().create_future()
            encoder = ResponseEncoder(run_id, 1)
            follower.notify(lambda: self._note(follower, encoder))  # noqa: B023 # called until `end`
            self._note(follower, encoder)
            try:
                await end
            finally:
                del self._ends[follower]
                self._yields.pop(run_id, None)
                await follower.aclose()

    def _note(self, follower: Follower, encoder: ResponseEncoder) -> None:
        self._ready[follower] = encoder
        self._news.set()

    async def write(self) -> None:
        """Take what comes, for good."""
        while True:
            await self._news.wait()
            self._news.clear()
            ready, self._ready = self._ready, {}
            for follower, encoder in ready.items():
                self._take(follower, encoder)

    def _take(self, follower: Follower, encoder: ResponseEncoder) -> None:
        """Take what one follower has."""
        while isinstance(given := follower.poll(), Batch):
            encoder.encode(given, monotonic_nano(), 0)
            now, yields = time.perf_counter_ns(), self._yields[follower.run_id]
            # The first event is RunStarted, the last one Done.
            places = range(max(0, given.first - 2), min(len(yields), given.first - 2 + len(given.events)))
            self.latencies.extend(now - yields[place] for place in places)
        if follower.finished and not (end := self._ends[follower]).done():
            end.set_result(None)


async def fill(log: MemoryLog, events: int) -> None:
    """Fill a log with ended runs."""
    event = new_event(1)
    event.text_delta.content = "token"
    payloads = [encode_payload(event, 1) for _ in range(FILL_RUN)]
    for number in range(0, events, FILL_RUN):
        run_id = f"{number:030}"
        await log.create(RunRecord(run_id, "", "pace", ON_DISCONNECT_CONTINUE, 1, OWNER))
        await log.close(run_id, 1, 1, payloads, End(Outcome("done", "stop")))


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the row of one way."""
    log = MemoryLog()
    importlib.import_module(CORE)
    await fill(log, arguments.events)
    manager = RunManager(log, RunLimits())
    streams, pauses, phases = Streams(manager, arguments.rate), Pauses(), random.Random(SEED)  # noqa: S311
    with ExitStack() as stack:
        stack.enter_context(WAYS[arguments.way]())
        delays = [phases.random() * RUN_S for _ in range(arguments.streams)]
        tasks = [asyncio.create_task(streams.write()), *map(asyncio.create_task, map(streams.stream, delays))]
        await asyncio.sleep(arguments.warm)
        pauses.reset()
        del streams.latencies[:]
        cpu_s, began = time.process_time(), time.monotonic()
        await asyncio.sleep(arguments.seconds)
        cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - began
        row = pauses.row()
    latencies = sorted(streams.latencies)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await manager.drain(0, asyncio.Event())
    for task in tasks:
        if not task.cancelled():
            task.result()  # It has ended by itself: this raises why.
    return {
        "way": arguments.way,
        "tokens_per_s": round(len(latencies) / wall_s),
        "cpu_us_per_token": round(cpu_s / len(latencies) * 1e6, 2),
        "p50_ms": round(latencies[len(latencies) // 2] / 1e6, 2),
        "p99_ms": round(latencies[len(latencies) * 99 // 100] / 1e6, 2),
        "max_ms": round(latencies[-1] / 1e6, 2),
        **row,
    }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all rounds, each row in a process of its own. Return the result."""
    rows: list[dict[str, Any]] = []
    for number in range(1, arguments.rounds + 1):
        for way in WAYS:
            words = [
                f"--{name}={getattr(arguments, name)}"
                for name in ("seconds", "warm", "streams", "rate", "events")
            ]
            command = [sys.executable, "-m", "bench.gc_pauses", f"--way={way}", *words]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603
            rows.append({"round": number, **json.loads(output)})
            print(rows[-1], file=sys.stderr)
    return {
        "command": "python -m bench.gc_pauses " + " ".join(sys.argv[1:]),
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the medians of all rounds as a table; of the longest pauses, the longest."""
    lines = ["| way | tokens/s | CPU µs | p50 ms | p99 ms | longest pause ms: young, middle, all |"]
    lines.append("|---|---|---|---|---|---|")
    for way in WAYS:
        of_way = [row for row in rows if row["way"] == way]
        names = ("tokens_per_s", "cpu_us_per_token", "p50_ms", "p99_ms")
        medians = [f"{statistics.median(row[name] for row in of_way):g}" for name in names]
        longest = (str(max(row[f"gen{number}_max_ms"] for row in of_way)) for number in range(3))
        lines.append(f"| {' | '.join([way, *medians, ', '.join(longest)])} |")
    return "\n".join(lines)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description="How long the garbage collector keeps streams waiting.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each round")
    parser.add_argument("--warm", type=float, default=RUN_S, help="seconds before it")
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--rate", type=float, default=50.0, help="tokens a second of each")
    parser.add_argument(
        "--events", type=int, default=1_000_000, help="events of ended runs in the log before"
    )
    parser.add_argument("--out", type=Path, help="keep the raw rows")
    parser.add_argument("--way", choices=WAYS, help="measure this one, once, and print its row")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print the table, and keep the raw rows where asked to."""
    arguments = parse(words)
    if arguments.way:
        print(json.dumps(uvloop.run(measure(arguments))))
        return
    result = run(arguments)
    print(table(result["rows"]))
    if arguments.out:
        arguments.out.write_text(as_text(result))


if __name__ == "__main__":
    main()
