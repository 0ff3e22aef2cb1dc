"""A real core and a real edge, each a process of its own on loopback, and what they hold at rest."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from bench.event_source import request
from bench.gauged import Gauges
from tests.support.processes import Running, clean_environment, core_is_serving, edge_is_ready, free_port
from tests.support.redis_server import RedisServer

AT_REST: Final = frozenset(
    {
        *("runs", "followers", "strays", "stored_runs", "stored_bytes", "run_slots", "follow_slots"),
        *("streams", "stream_slots", "connections"),
    }
)
"""The gauges that must be 0 without clients. Those of BASED must be no more than they were at first."""

BASED: Final = frozenset({"tasks", "calls", "descriptors", "keys"})

SETTLE_S: Final = 60.0
"""How long everything may take to come to rest after a batch; it takes about a second."""

POLL_S: Final = 0.1

BASE_S: Final = 2.0
"""How long the base is looked for. An edge asks its cores how they stand each second, which takes tasks and a
call of its own, and may make a call anew that it holds: at rest is what is there nearly always."""

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
        async with request(self.address[1], "GET", f"/api/runs/{'a' * 30}", {}) as response:
            await response.body()
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
def running(name: str, folder: Path, settings: Mapping[str, str]) -> Iterator[Running]:
    """Run one of the two processes."""
    command = [sys.executable, "-m", "bench.gauged", name, str(folder / f"{name}.sock")]
    process = Running(name, command, environment=clean_environment(settings), folder=folder)
    try:
        yield process
    finally:
        process.stop()
        sys.stderr.write(process.stderr[-LOG_TAIL:])


@contextmanager
def standing(store: str, settings: Mapping[str, str]) -> Iterator[Stand]:
    """Run a core, an edge, and what the store needs.

    Args:
        store: `memory` or `redis`.
        settings: TOKENWIRE_ variables of both.
    """
    with tempfile.TemporaryDirectory(prefix="tokenwire-stand-") as name:
        folder = Path(name)
        redis = RedisServer(folder) if store == "redis" else None
        core_port, edge_port = free_port(), free_port()
        core_address, url = f"127.0.0.1:{core_port}", f"http://127.0.0.1:{edge_port}"
        core_settings = {
            **settings,
            "TOKENWIRE_GRPC_PORT": str(core_port),
            "TOKENWIRE_STORE": redis.url if redis else store,
        }
        edge_settings = {**settings, "TOKENWIRE_CORE": core_address, "TOKENWIRE_PORT": str(edge_port)}
        try:
            with running("core", folder, core_settings) as core:
                core.wait_ready(lambda: core_is_serving(core_address))
                with running("edge", folder, edge_settings) as edge:
                    edge.wait_ready(lambda: edge_is_ready(url))
                    yield Stand(url, core, edge, folder, redis)
        finally:
            if redis is not None:
                redis.stop()


def differences(
    base: dict[str, Gauges], now: dict[str, Gauges], but: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Return the gauges that are not where they were, with what they are and should be.

    Args:
        base: The gauges at rest.
        now: The gauges now.
        but: Gauges that do not count.
    """
    left = {}
    for process, gauges in now.items():
        for name in (gauges.keys() & (AT_REST | BASED)) - but:
            value, wanted = gauges[name], 0 if name in AT_REST else base[process][name]
            # The core keeps its connections to Redis for the next calls.
            spare = REDIS_POOL if (process, name) == ("core", "descriptors") and "redis" in now else 0
            if value > wanted + spare:
                left[f"{process}.{name}"] = f"{value}, not {wanted}"
    return left


async def settled(
    stand: Stand, base: dict[str, Gauges] | None, but: frozenset[str] = frozenset()
) -> tuple[dict[str, Gauges], dict[str, str]]:
    """Return the gauges once they are back at their base, and what is not by the end of the time."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        gauges = await stand.gauges()
        left = differences(base or gauges, gauges, but)
        if not left or time.monotonic() > deadline:
            return gauges, left
        await asyncio.sleep(POLL_S)


async def base_of(
    stand: Stand, but: frozenset[str] = frozenset()
) -> tuple[dict[str, Gauges], dict[str, str]]:
    """Return the gauges at rest, and what is not at rest: only what must be 0 can be judged yet."""
    base, left = await settled(stand, None, but)
    samples = [base]
    until = time.monotonic() + BASE_S
    while time.monotonic() < until:
        await asyncio.sleep(POLL_S)
        samples.append(await stand.gauges())
    for process, gauges in base.items():
        for name in gauges.keys() & BASED:
            # What is nearly always there: a call comes and goes now and then, or is made anew.
            gauges[name] = statistics.mode(sample[process][name] for sample in samples)
    return base, left
