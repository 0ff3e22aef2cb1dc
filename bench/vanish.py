"""Clients that vanish at random moments: what is left of them in a core and in an edge?

    python -m bench.vanish [--clients 20000] [--store memory|redis] [--out bench/results/vanish.json]

A real core and a real edge, each a process of its own on loopback. Clients on bare sockets start, follow and
resume runs, and vanish (FIN or RST) before the first token, inside one, between two, after the end, inside
the request, or without one; a fixed seed draws the lots. After each batch all gauges must be back where they
were before the first client, and after the warm-up memory may grow by so many bytes a client at most.
Prints one line of JSON. Exit status: 0 when all of it held, 1 when not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import uvloop

from bench.gauged import Gauges
from bench.vanishing_client import VanishingClient, draw_plan
from tests.support.processes import Running, clean_environment, core_is_serving, edge_is_ready, free_port
from tests.support.redis_server import RedisServer

AT_REST: Final = frozenset(
    {
        *("runs", "followers", "strays", "stored_runs", "stored_bytes", "run_slots", "follow_slots"),
        *("streams", "stream_slots", "connections"),
    }
)
"""The gauges that must be 0 when nobody is there. Those of BASED must be no more than they were at first."""

BASED: Final = frozenset({"tasks", "calls", "descriptors", "keys"})

SETTINGS: Final = {
    "TOKENWIRE_AGENT": "pace=agent_core.agents.pace:pace",
    # Short, so that the store is empty soon after each batch.
    "TOKENWIRE_DISCONNECT_GRACE_S": "0.2",
    "TOKENWIRE_LOG_RETENTION_S": "1",
    "TOKENWIRE_SESSION_RETENTION_S": "1",
    "TOKENWIRE_DRAIN_S": "1",
    "TOKENWIRE_LOG_LEVEL": "warning",
}

FIRST_CLIENTS: Final = 20
"""Clients before the base is read: what is made once for all is made by then."""

WARM_UP_SHARE: Final = 0.3
"""The share of the clients during which memory may still grow towards its working size."""

SETTLE_S: Final = 60.0
"""How long everything may take to come to rest after a batch; it takes about a second."""

POLL_S: Final = 0.1

BASE_S: Final = 2.0
"""How long the base is looked for. An edge asks its cores how they stand each second, which takes tasks and a
call of its own: at rest is what is fewest."""

REDIS_POOL: Final = 2 * 16
"""How many connections to Redis a core may keep after its busiest moment: of the log and of its lease."""

LOG_TAIL: Final = 4_000
"""How many characters of each process's log are shown at the end."""


@dataclass
class Stand:
    """The processes under test, and the ways to ask them."""

    url: str
    core: Running
    edge: Running
    folder: Path
    redis: RedisServer | None

    @property
    def address(self) -> tuple[str, int]:
        """Return where the edge listens."""
        parsed = httpx.URL(self.url)
        return parsed.host, parsed.port or 80

    async def gauges(self) -> dict[str, Gauges]:
        """Return the gauges of both processes, and of Redis when that is the store."""
        # To be asked for any run makes the memory store forget what has expired.
        async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
            await http.get(f"{self.url}/api/runs/{'a' * 30}")
        read = {name: await self._ask(name) for name in ("core", "edge")}
        if self.redis is not None:
            read["redis"] = {"keys": int(self.redis.client.dbsize())}
        return read

    async def _ask(self, name: str) -> Gauges:
        reader, writer = await asyncio.open_unix_connection(str(self.folder / f"{name}.sock"))
        writer.write(b"\n")
        answer: Gauges = json.loads(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return answer


@contextmanager
def running(name: str, folder: Path, settings: dict[str, str]) -> Iterator[Running]:
    """Run one of the two processes."""
    command = [sys.executable, "-m", "bench.gauged", name, str(folder / f"{name}.sock")]
    process = Running(name, command, environment=clean_environment(SETTINGS | settings), folder=folder)
    try:
        yield process
    finally:
        process.stop()
        sys.stderr.write(process.stderr[-LOG_TAIL:])


@contextmanager
def standing(store: str) -> Iterator[Stand]:
    """Run a core, an edge, and what the store needs."""
    with tempfile.TemporaryDirectory(prefix="vanish-") as name:
        folder = Path(name)
        redis = RedisServer(folder) if store == "redis" else None
        core_port, edge_port = free_port(), free_port()
        core_address, url = f"127.0.0.1:{core_port}", f"http://127.0.0.1:{edge_port}"
        core_settings = {
            "TOKENWIRE_GRPC_PORT": str(core_port),
            "TOKENWIRE_STORE": redis.url if redis else store,
        }
        edge_settings = {"TOKENWIRE_CORE": core_address, "TOKENWIRE_PORT": str(edge_port)}
        try:
            with running("core", folder, core_settings) as core:
                core.wait_ready(lambda: core_is_serving(core_address))
                with running("edge", folder, edge_settings) as edge:
                    edge.wait_ready(lambda: edge_is_ready(url))
                    yield Stand(url, core, edge, folder, redis)
        finally:
            if redis is not None:
                redis.stop()


class Crowd:
    """All clients, drawn one after another from one seed.

    Args:
        address: Host and port of the edge.
        seed: Of the lots.
        at_once: How many are there at a time.
    """

    def __init__(self, address: tuple[str, int], seed: int, at_once: int) -> None:
        self._address = address
        self._lot = random.Random(seed)  # noqa: S311 - lots, no secret
        self._room = asyncio.Semaphore(at_once)
        self._known_runs: list[str] = []
        self.came: Counter[str] = Counter()
        """What clients asked for, and when they went."""
        self.whole = 0
        """How many saw the answer's end."""

    async def come_and_go(self, count: int) -> None:
        """Return when so many more clients have vanished.

        Raises:
            ExceptionGroup: The edge cut a client short, refused its connection, or kept it for too long.
        """
        async with asyncio.TaskGroup() as clients:
            for _ in range(count):
                await self._room.acquire()
                clients.create_task(self._one())

    async def _one(self) -> None:
        plan = draw_plan(self._lot)
        self.came[plan.request] += 1
        self.came[plan.moment] += 1
        number = self.came.total()
        try:
            client = VanishingClient(self._address, plan, number, self._known_runs, self._lot.choice)
            if await client.run():
                self.whole += 1
        finally:
            self._room.release()


def differences(base: dict[str, Gauges], now: dict[str, Gauges]) -> dict[str, str]:
    """Return the gauges that are not where they were, with what they are and should be."""
    left = {}
    for process, gauges in now.items():
        for name in gauges.keys() & (AT_REST | BASED):
            value, wanted = gauges[name], 0 if name in AT_REST else base[process][name]
            # The core keeps its connections to Redis for the next calls.
            spare = REDIS_POOL if (process, name) == ("core", "descriptors") and "redis" in now else 0
            if value > wanted + spare:
                left[f"{process}.{name}"] = f"{value}, not {wanted}"
    return left


async def settled(stand: Stand, base: dict[str, Gauges] | None) -> tuple[dict[str, Gauges], dict[str, str]]:
    """Return the gauges once they are back at their base, and what is not by the end of the time."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        gauges = await stand.gauges()
        left = differences(base or gauges, gauges)
        if not left or time.monotonic() > deadline:
            return gauges, left
        await asyncio.sleep(POLL_S)


async def base_of(stand: Stand) -> tuple[dict[str, Gauges], dict[str, str]]:
    """Return the gauges at rest, and what is not at rest: nothing but what must be 0 can be told yet."""
    base, left = await settled(stand, None)
    until = time.monotonic() + BASE_S
    while time.monotonic() < until:
        await asyncio.sleep(POLL_S)
        for process, gauges in (await stand.gauges()).items():
            for name in gauges.keys() & BASED:
                base[process][name] = min(base[process][name], gauges[name])
    return base, left


def slopes(rows: list[dict[str, Any]], warm_up: int) -> dict[str, dict[str, float]]:
    """Return by how much each process grows with each client after the warm-up, by least squares.

    Args:
        rows: The checkpoints.
        warm_up: Checkpoints with fewer clients do not count.
    """
    counted = [row for row in rows if row["clients"] >= warm_up]
    clients = [row["clients"] for row in counted]
    return {
        process: {
            name: round(
                statistics.linear_regression(clients, [row[process][name] for row in counted]).slope, 3
            )
            for name in ("rss_bytes", "objects", "blocks")
        }
        for process in ("core", "edge")
    }


async def measure(stand: Stand, arguments: argparse.Namespace) -> dict[str, Any]:
    """Let all clients come and go, and return the result."""
    crowd = Crowd(stand.address, arguments.seed, arguments.at_once)
    await crowd.come_and_go(FIRST_CLIENTS)
    base, left = await base_of(stand)
    rows: list[dict[str, Any]] = []
    began = time.monotonic()
    for checkpoint in range(arguments.checkpoints):
        if left:
            break
        done, until = (
            arguments.clients * part // arguments.checkpoints for part in (checkpoint, checkpoint + 1)
        )
        await crowd.come_and_go(until - done)
        gauges, left = await settled(stand, base)
        rows.append({"clients": until, **gauges})
    growth = slopes(rows, int(arguments.clients * WARM_UP_SHARE)) if not left else {}
    limits = {"rss_bytes": arguments.rss_limit, "objects": arguments.objects_limit}
    over = {
        f"{process}.{name}": f"{grown[name]} a client, over {limit}"
        for process, grown in growth.items()
        for name, limit in limits.items()
        if limit is not None and grown[name] > limit
    }
    return {
        "held": not left and not over,
        "not_at_rest": left,
        "over_limit": over,
        "clients": arguments.clients,
        "store": arguments.store,
        "seed": arguments.seed,
        "at_once": arguments.at_once,
        "seconds": round(time.monotonic() - began, 1),
        "asked_and_left": dict(sorted(crowd.came.items())),
        "whole_answers": crowd.whole,
        "growth_per_client_after_warm_up": growth,
        "base": base,
        "rows": rows,
    }


def write_down(path: Path, result: dict[str, Any]) -> None:
    """Put a result beside those of other stores and sizes."""
    known = json.loads(path.read_text()) if path.exists() else []
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    stamp = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine}
    entry = stamp | {"command": f"python -m bench.vanish {' '.join(sys.argv[1:])}"} | result
    path.write_text("[\n" + ",\n".join(json.dumps(each) for each in [*known, entry]) + "\n]\n")


def main() -> int:
    """Return 0 when everything that the clients left behind was cleared away."""
    parser = argparse.ArgumentParser(description="Clients that vanish, and what is left of them.")
    parser.add_argument("--clients", type=int, default=20_000)
    parser.add_argument("--checkpoints", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=("memory", "redis"), default="memory")
    parser.add_argument("--rss-limit", type=float, default=200, help="bytes a client, after the warm-up")
    parser.add_argument("--objects-limit", type=float, help="Python objects a client, after the warm-up")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with standing(arguments.store) as stand:
        result = uvloop.run(measure(stand, arguments))
    print(json.dumps(result))
    if arguments.out:
        write_down(arguments.out, result)
    return 0 if result["held"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
