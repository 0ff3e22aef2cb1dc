"""What keeping runs costs: each store of runs against no log at all.

    python -m bench.run_log [--rounds 5] [--seconds 3] [--out bench/results/run-log.json]

The core's own machinery of runs, with the agent `pace`, one real follower for each run, and each store in
turn. Latency is from the agent's yield to the follower's receipt, for every token. The rounds are
interleaved (A B C D, B C D A, …), each with a store that holds nothing, and a store is compared with no log
round by round. There is no network between the core and the reader: that costs the same with each store.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import sys
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop
from opentelemetry.context import Context

from agent_core.agents.catalogue import NamedAgent
from agent_core.agents.events import AgentEvent, RunRequest
from agent_core.agents.pace import PaceOrder, pace
from agent_core.log.batch import Batch
from agent_core.log.position import START
from agent_core.runs.follower import FollowRequest
from agent_core.runs.manager import RunManager
from bench.machine import busy_since, cores, filesystem, machine, processor_ticks, versions
from bench.result_file import as_text
from bench.run_log_tables import tables, write_into_page
from bench.stores import BASELINE, CONTESTANTS, NEEDS_REDIS, Ground, ground, open_manager
from tokenwire.v1.run_pb2 import ON_DISCONNECT_CONTINUE, RunSpec

OWNER: Final = "bench"
SEED: Final = 7
TOKEN_BYTES: Final = 5
RATE: Final = 50.0
"""Tokens a second of a run: a fast model's."""

FLAT_OUT_TOKENS: Final = 15_000
"""Tokens of one round flat out: less than the ring of one run holds, so that no reader is overtaken."""

RESULTS: Final = Path(__file__).with_name("results") / "run-log.json"


@dataclass(frozen=True)
class Load:
    """What the agents say."""

    runs: int
    rate: float
    """Tokens a second of each run; 0 for flat out."""
    tokens: int
    """Tokens of each run."""

    @property
    def name(self) -> str:
        """What the result calls it."""
        return f"{self.runs} x {f'{self.rate:g}/s' if self.rate else 'flat out'}"


def loads(seconds: float, *, quick: bool = False) -> list[Load]:
    """Return what is measured.

    Args:
        seconds: How long each paced round takes.
        quick: Little of everything.
    """
    if quick:
        return [Load(1, RATE, 20), Load(4, RATE, 20), Load(1, 0, 500), Load(4, 0, 100)]
    paced = [(1, RATE), (100, RATE), (1000, RATE / 10), (1000, RATE / 2.5)]
    flat_out = [Load(runs, 0, FLAT_OUT_TOKENS // runs) for runs in (1, 100)]
    return [*(Load(runs, rate, round(rate * seconds)) for runs, rate in paced), *flat_out]


@dataclass
class Round:
    """One store under one load, while it is measured."""

    manager: RunManager
    load: Load
    yields: dict[str, array[int]] = field(default_factory=dict)
    """By run: when the agent yielded each token, in nanoseconds of the performance counter."""
    latencies: array[int] = field(default_factory=lambda: array("q"))
    """From yield to receipt, in nanoseconds, of every token of every run."""
    begin: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when every run has its follower: the agents wait for it."""
    following: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Released by each follower once it has the run's first event."""
    last_ns: int = 0
    """When the last token was received."""

    async def agent(self, request: RunRequest) -> AsyncIterator[AgentEvent | str]:
        """Yield what `pace` yields, and note when."""
        stamp = self.yields.setdefault(request.run_id, array("q")).append
        await self.begin.wait()
        async for item in pace(request):
            stamp(time.perf_counter_ns())
            yield item

    async def start(self, delay_s: float) -> str:
        """Start a run whose first token is due a while after the beginning. Return its id."""
        order = PaceOrder(tokens=self.load.tokens, rate=self.load.rate, size=TOKEN_BYTES, delay_s=delay_s)
        return await self.manager.start(
            RunSpec(message=msgspec.json.encode(order).decode()),
            NamedAgent("pace", self.agent),
            owner=OWNER,
            on_disconnect=ON_DISCONNECT_CONTINUE,
            parent=Context(),
        )

    async def follow(self, run_id: str) -> None:
        """Read a run to its end.

        Raises:
            RuntimeError: A token did not come, or came twice.
        """
        order = FollowRequest(run_id, OWNER, START, relay=False, say_caught_up=False)
        follower = await self.manager.follow(order)
        received = 0
        try:
            while (given := await follower.next()) is not None:
                now = time.perf_counter_ns()
                if not isinstance(given, Batch):
                    raise RuntimeError(f"the follower was told {given}")  # noqa: TRY004 # no wrong type: a loss
                if not received:
                    self.following.release()
                received = self._note(run_id, given, received, now)
                self.last_ns = now
        finally:
            await follower.aclose()
        if received != self.load.tokens + 2:
            raise RuntimeError(f"a run of {self.load.tokens} tokens came to {received} events")

    def _note(self, run_id: str, batch: Batch, received: int, now: int) -> int:
        """Note the tokens of a batch. The first one begins with RunStarted, the last one ends with Done.

        Returns:
            How many events have been received.
        """
        yields = self.yields.get(run_id, ())
        for sequence in range(batch.first, batch.end.sequence + 1):
            received += 1
            if sequence != received:
                raise RuntimeError(f"event {sequence} came as number {received}")
            if 0 <= received - 2 < self.load.tokens:
                self.latencies.append(now - yields[received - 2])
        return received


async def measure(store: str, load: Load, place: Ground) -> dict[str, Any]:
    """Return the row of one store under one load.

    Raises:
        RuntimeError: Something broke behind the runs, in the store's own tasks and callbacks.
    """
    phases = random.Random(SEED)  # noqa: S311 # the same moments for each store
    interval_s = 1 / load.rate if load.rate else 0.0
    broken: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
    async with open_manager(store, place) as manager:
        state = Round(manager, load)
        starts = [state.start(phases.random() * interval_s) for _ in range(load.runs)]
        async with asyncio.TaskGroup() as group:
            for run_id in await asyncio.gather(*starts):
                group.create_task(state.follow(run_id))
            for _ in range(load.runs):
                await state.following.acquire()
            gc.collect()
            redis_cpu_s = place.redis_cpu_s if store == NEEDS_REDIS else 0.0
            cpu_s, wall_s, ticks = time.process_time(), time.monotonic(), processor_ticks()
            state.begin.set()
        cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
        busy = busy_since(ticks)
        if store == NEEDS_REDIS:
            redis_cpu_s = place.redis_cpu_s - redis_cpu_s
    if broken:
        # The loop would only log it: what was measured would not be what a core does.
        raise RuntimeError(f"{store}: {broken[0]['message']}") from broken[0].get("exception")
    first_ns = min(stamps[0] for stamps in state.yields.values())
    measured = row(state.latencies, (state.last_ns - first_ns) / 1e9, cpu_s, redis_cpu_s)
    own = (cpu_s + redis_cpu_s) / (wall_s * cores())
    return {
        **measured,
        "machine_busy": round(busy, 2),
        "machine_busy_with_others": round(max(0, busy - own), 2),
    }


def row(latencies: array[int], seconds: float, cpu_s: float, redis_cpu_s: float) -> dict[str, Any]:
    """Return what one round came to.

    Args:
        latencies: In nanoseconds, of every token.
        seconds: From the first yield to the last receipt.
        cpu_s: Processor time of the core's process, all its threads.
        redis_cpu_s: Of the server of Redis.
    """
    ordered = sorted(latencies)
    tokens = len(ordered)

    def percentile_us(share: float) -> float:
        return round(ordered[min(tokens - 1, int(tokens * share))] / 1e3, 1)

    return {
        "tokens": tokens,
        "seconds": round(seconds, 4),
        "tokens_per_s": round(tokens / seconds, 1),
        "p50_us": percentile_us(0.5),
        "p99_us": percentile_us(0.99),
        "p999_us": percentile_us(0.999),
        "cpu_us_per_token": round(cpu_s / tokens * 1e6, 2),
        "redis_cpu_us_per_token": round(redis_cpu_s / tokens * 1e6, 2),
    }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all rounds. Return the result."""
    with ground(arguments.folder) as place:
        stores = [name for name in CONTESTANTS if name != NEEDS_REDIS or place.redis is not None]
        left_out = sorted(set(CONTESTANTS) - set(stores))
        for name in left_out:
            print(f"LEFT OUT: {name}: neither redis-server nor valkey-server is here", file=sys.stderr)
        result: dict[str, Any] = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": "python -m bench.run_log " + " ".join(sys.argv[1:]),
            "machine": machine(),
            "versions": {**versions(), "redis server": place.redis_version},
            "file_system": filesystem(place.folder),
            "baseline": BASELINE,
            "left_out": left_out,
            "rows": [],
        }
        for number in range(1, 2 if arguments.quick else arguments.rounds + 1):
            # Another one first each time: who is always last would have the machine at its warmest.
            place_of_first = (number - 1) % len(stores)
            in_turn = stores[place_of_first:] + stores[:place_of_first]
            for load in loads(arguments.seconds, quick=arguments.quick):
                for store in in_turn:
                    measured = uvloop.run(measure(store, load, place))
                    facts = {"round": number, "load": load.name, "runs": load.runs, "rate": load.rate}
                    result["rows"].append({**facts, "store": store, **measured})
                    shown = f"{measured['p50_us']:9.1f} us {measured['tokens_per_s']:9.1f}/s"
                    print(f"round {number}  {load.name:16} {store:8} {shown}", file=sys.stderr)
    return result


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description="What each store of runs costs, against no log.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each paced round")
    parser.add_argument("--folder", type=Path, help="where SQLite's files go (default: the system's)")
    parser.add_argument("--quick", action="store_true", help="a few seconds in all: does it run?")
    parser.add_argument("--out", type=Path, help="keep the raw rows")
    parser.add_argument(
        "--page", type=Path, help="write the tables into this page, from --out or what is kept"
    )
    parser.add_argument("--tables-only", action="store_true", help="measure nothing: print what is kept")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and keep the raw rows where asked to."""
    arguments = parse(words)
    kept = arguments.out or RESULTS
    result = json.loads(kept.read_text()) if arguments.tables_only else run(arguments)
    print(tables(result))
    if arguments.out and not arguments.tables_only:
        arguments.out.write_text(as_text(result))
    if arguments.page:
        write_into_page(arguments.page, result)


if __name__ == "__main__":
    main()
