"""What a run keeps in memory while it goes on, as far as the garbage collector looks at it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

from opentelemetry.context import Context

from agent_core.agents.catalogue import NamedAgent
from agent_core.agents.events import AgentEvent, ReasoningDelta, RunRequest, TextDelta
from agent_core.runs.follower import NOT_HERE, FollowOrder
from agent_core.runs.log.contract import START, Batch
from agent_core.runs.log.memory import MemoryLog
from agent_core.runs.manager import RunManager
from agent_core.runs.run_order import RunTimes
from tokenwire.v1.run_pb2 import ON_DISCONNECT_CONTINUE, RunSpec

TOKENS = 3_000
FEW = TOKENS // 30


async def test_a_token_leaves_nothing_that_the_collector_looks_at() -> None:
    """From the agent to its follower: full collections take as long after a million tokens as after one."""
    go_on = asyncio.Event()
    counted: list[int] = []

    async def agent(_: RunRequest) -> AsyncIterator[AgentEvent | str]:
        yield "first"
        await go_on.wait()
        for number in range(TOKENS // 3):
            yield str(number)
            yield TextDelta(str(number))
            yield ReasoningDelta(str(number))
        go_on.clear()
        await go_on.wait()

    manager = RunManager(MemoryLog(), RunTimes())
    run_id = await manager.start(
        RunSpec(message="?"),
        NamedAgent("one", agent),
        owner="alice",
        on_disconnect=ON_DISCONNECT_CONTINUE,
        parent=Context(),
    )
    follower = await manager.follow(FollowOrder(run_id, "alice", START, relay=True, say_caught_up=False))
    news = asyncio.Event()
    follower.notify(news.set)
    kept: list[bytes] = []
    async with asyncio.timeout(60):
        for needed in (2, TOKENS + 2):
            while len(kept) < needed:
                news.clear()
                while (given := follower.poll()) is not None:
                    assert given is not NOT_HERE
                    assert isinstance(given, Batch)
                    kept += given.events
                    del given
                if len(kept) < needed:
                    await news.wait()
            gc.collect()
            counted.append(len(gc.get_objects()))
            go_on.set()
    assert counted[1] - counted[0] < FEW
    await follower.aclose()
    await manager.drain(0, asyncio.Event())
