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
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.stand import Stand, base_of, settled, standing
from bench.vanishing_client import VanishingClient, draw_plan

SETTINGS: Final = {
    "TOKENWIRE_AGENT": "pace",
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
    with standing(arguments.store, SETTINGS) as stand:
        result = uvloop.run(measure(stand, arguments))
    print(json.dumps(result))
    if arguments.out:
        write_down(arguments.out, result)
    return 0 if result["held"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
