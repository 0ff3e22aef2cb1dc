"""The stores that are compared, each opened fresh, and timed as in a core."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from agent_core.log.contract import RunLog
from agent_core.log.memory.log import MemoryLog
from agent_core.log.peers import NoPeers, Peers
from agent_core.log.redis import RedisLog
from agent_core.log.sqlite.log import SqliteLog
from agent_core.log.timed import TimedLog
from agent_core.runs.limits import RunLimits
from agent_core.runs.manager import RunManager
from bench.no_log import NoLog
from tests.support import system
from tests.support.redis_server import RedisServer

BASELINE: Final = "no log"
NEEDS_REDIS: Final = "redis"


@dataclass(frozen=True)
class Ground:
    """What the stores of one measurement stand on."""

    folder: Path
    """Where SQLite's files go."""
    redis: RedisServer | None
    """None where there is no Redis on this machine."""

    @property
    def redis_cpu_s(self) -> float:
        """The processor time that the server of Redis has taken so far."""
        if self.redis is None:
            return 0.0
        with self.redis.client as client:
            used = client.info("cpu")
        return float(used["used_cpu_sys"]) + float(used["used_cpu_user"])

    @property
    def redis_version(self) -> str:
        """Which server it is."""
        if self.redis is None:
            return ""
        with self.redis.client as client:
            server = client.info("server")
        return f"{server.get('server_name', 'redis')} {server.get('valkey_version', server['redis_version'])}"

    def clear_redis(self) -> None:
        """Forget what an earlier round has left."""
        if self.redis is not None:
            with self.redis.client as client:
                client.flushall()


@contextmanager
def ground(folder: Path | None) -> Iterator[Ground]:
    """Make a folder, start Redis where there is one, and take both away in the end.

    Args:
        folder: Where to make the folder; None for the system's place for temporary files.
    """
    place = Path(tempfile.mkdtemp(prefix="tokenwire-bench-", dir=folder))
    server: RedisServer | None = None
    try:
        if system.find("redis") is not None:
            server = RedisServer(place)
        yield Ground(place, server)
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(place)


def _no_log(_: Ground) -> tuple[RunLog, Peers]:
    return NoLog(), NoPeers()


def _memory(_: Ground) -> tuple[RunLog, Peers]:
    return MemoryLog(), NoPeers()


def _sqlite(place: Ground) -> tuple[RunLog, Peers]:
    return TimedLog(SqliteLog(place.folder / f"{uuid4().hex}.db"), "sqlite"), NoPeers()


def _redis(place: Ground) -> tuple[RunLog, Peers]:
    assert place.redis is not None
    log = RedisLog(place.redis.url, core=uuid4().hex)
    return TimedLog(log, "redis"), log.peers


CONTESTANTS: Final[dict[str, Callable[[Ground], tuple[RunLog, Peers]]]] = {
    BASELINE: _no_log,
    "memory": _memory,
    "sqlite": _sqlite,
    NEEDS_REDIS: _redis,
}


@asynccontextmanager
async def open_manager(name: str, place: Ground) -> AsyncIterator[RunManager]:
    """Open a store that holds nothing yet, with the machinery of runs on it, as a core does."""
    if name == NEEDS_REDIS:
        place.clear_redis()
    log, peers = CONTESTANTS[name](place)
    await log.start()
    manager = RunManager(log, RunLimits(), peers=peers)
    await peers.start(manager.peer_listener)
    try:
        yield manager
    finally:
        await manager.drain(0, asyncio.Event())
        await peers.aclose()
        await log.aclose()
        for file in place.folder.glob("*.db*"):
            file.unlink()
