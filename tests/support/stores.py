"""Every store of runs behind one door, and the little that tests write into them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from agent_core.log.append import Append, Appended
from agent_core.log.budget import LogBudget
from agent_core.log.contract import RunLog
from agent_core.log.encoding import encode_payload, new_event
from agent_core.log.memory.log import MemoryLog
from agent_core.log.position import START, Position
from agent_core.log.records import Outcome, RunInfo, RunRecord
from agent_core.log.redis import RedisLog
from agent_core.log.sqlite.log import SqliteLog
from agent_core.runs.follower import Follower, OpenTail, start_of
from tests.support.redis_server import shared_redis
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import ON_DISCONNECT_GRACE

RUN: Final = "k7q2" + "a" * 26
OTHER: Final = "k7q2" + "b" * 26
THIRD: Final = "k7q2" + "c" * 26
STOP: Final = Outcome("done", "stop")
LOST: Final = Outcome("error", "UNAVAILABLE")
FAR: Final = 1_000_000_000
"""More bytes than any batch of a test has."""

WAKE_S: Final = 20.0
"""How long something that must happen may take on a machine that is busy with other things."""


class Clock:
    """A wall clock that moves when it is told to."""

    def __init__(self) -> None:
        self.unix_nano = 1_763_841_600_000_000_000

    def __call__(self) -> int:
        return self.unix_nano


@dataclass(frozen=True)
class Setting:
    """What a store is opened with, the same for each."""

    folder: Path
    budget: LogBudget
    clock: Callable[[], int]


STORES: Final[dict[str, Callable[[Setting], RunLog]]] = {
    "memory": lambda setting: MemoryLog(setting.budget, unix_nano=setting.clock),
    # So little in memory that readers are often behind it.
    "sqlite": lambda setting: SqliteLog(
        setting.folder / "runs.db", setting.budget, hot_bytes=1_000, unix_nano=setting.clock
    ),
    "redis": lambda setting: RedisLog(
        shared_redis().url,
        setting.budget,
        # What it kept must be found again by the next one in the same folder.
        prefix=f"t{setting.folder}",
        core="core",
        hot_bytes=1_000,
        unix_nano=setting.clock,
    ),
}
"""The stores that the contract's tests go through."""

DURABLE: Final[frozenset[str]] = frozenset({"sqlite", "redis"})
"""Those that can be closed and opened again."""

STORE_PARAMETERS: Final = [
    pytest.param(name, marks=[pytest.mark.needs("redis")] if name == "redis" else []) for name in STORES
]
"""The stores as a fixture's parameters."""

COUNTING: Final = ["memory", "sqlite"]
"""Those that limit the bytes of all runs and sessions themselves: Redis has its own limit for that."""

OpenLog: TypeAlias = Callable[..., Awaitable[RunLog]]
"""Opens a store with the given parts of a budget."""


@asynccontextmanager
async def open_store(name: str, setting: Setting) -> AsyncIterator[RunLog]:
    """Open a store, and close it."""
    log = STORES[name](setting)
    await log.start()
    try:
        yield log
    finally:
        await log.aclose()


def record(
    run_id: str = RUN,
    key: str = "",
    fingerprint: bytes = b"",
    owner: str = "alice",
    *,
    session: str = "",
    create: int = 1,
    core: str = "",
    message: str = "",
) -> RunRecord:
    return RunRecord(
        run_id, session, "agent", ON_DISCONNECT_GRACE, create, owner, key, fingerprint, core, message
    )


async def open_log_at(
    log: RunLog, run_id: str, after: Position, max_events: int = 512, max_bytes: int = FAR
) -> OpenTail:
    """Open a run's log after a position, as a core does for a follower."""
    info = await log.info(run_id)
    assert info is not None
    start = start_of(info, after)
    return OpenTail(await log.tail(run_id, start[0], max_events, max_bytes), info, start)


async def follow(
    log: RunLog, run_id: str, after: Position, max_events: int = 512, max_bytes: int = FAR
) -> Follower:
    """Return a follower that is told when it has caught up."""

    def again(position: Position) -> Awaitable[OpenTail]:
        return open_log_at(log, run_id, position, max_events, max_bytes)

    return Follower(await again(after), reopen=again, say_caught_up=True, on_close=lambda _: None)


def payload(text: str) -> bytes:
    event = new_event(1)
    event.text_delta.content = text
    return encode_payload(event, 1)


def payloads(first: int, count: int) -> list[bytes]:
    return [payload(str(number)) for number in range(first, first + count)]


def texts(events: Sequence[bytes]) -> list[str]:
    return [Event.FromString(event).text_delta.content for event in events]


async def soon(awaited: asyncio.Task[object] | asyncio.Future[object]) -> object:
    """Return what must be there before long."""
    return await asyncio.wait_for(asyncio.shield(awaited), WAKE_S)


async def answers_to(log: RunLog, appends: Sequence[Append]) -> list[Appended | Exception]:
    """Submit appends in one turn of the event loop, and return what becomes of each."""
    loop = asyncio.get_running_loop()
    answers: list[asyncio.Future[Appended | Exception]] = [loop.create_future() for _ in appends]
    for append, answer in zip(appends, answers, strict=True):
        log.submit(append, answer.set_result)  # Raises where it is answered twice.
    async with asyncio.timeout(3 * WAKE_S):
        return await asyncio.gather(*answers)


async def known(log: RunLog, run_id: str = RUN) -> RunInfo:
    info = await log.info(run_id)
    assert info is not None
    return info


async def all_texts(log: RunLog, run_id: str = RUN) -> list[str]:
    return texts((await log.read(run_id, START, 10_000, FAR)).events)
