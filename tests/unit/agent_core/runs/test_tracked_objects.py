"""What a run keeps in memory while it goes on, as far as the garbage collector looks at it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from opentelemetry.context import Context

from agent_core.agents.catalogue import NamedAgent
from agent_core.agents.events import AgentEvent, ReasoningDelta, RunRequest, TextDelta
from agent_core.log.contract import START, Batch, End
from agent_core.log.memory.log import MemoryLog
from agent_core.runs.follower import NOT_HERE, FollowRequest
from agent_core.runs.limits import RunLimits
from agent_core.runs.manager import RunManager
from agent_core.runs.run import StopCause
from tests.support.stores import RUN, STOP, payloads, record, texts
from tokenwire.v1.run_pb2 import ON_DISCONNECT_CONTINUE, RunSpec

TOKENS = 3_000
FEW = TOKENS // 30


async def started(manager: RunManager, agent: object) -> str:
    return await manager.start(
        RunSpec(message="?"),
        NamedAgent("one", agent),
        owner="alice",
        on_disconnect=ON_DISCONNECT_CONTINUE,
        parent=Context(),
    )


async def test_the_events_of_an_ended_run_are_not_even_looked_at() -> None:
    """Of a list, each full collection would look at each member: 16 ms for a million events."""
    log = MemoryLog()
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 9))
    await log.close(RUN, 1, 10, payloads(10, 1), End(STOP))
    events = log._logs[RUN].events
    gc.collect()
    assert not gc.is_tracked(events)
    assert texts(events) == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize("ending", ["done", "failed", "cancelled"])
async def test_an_ended_run_leaves_no_garbage_in_a_cycle(
    ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where streams wait, all objects are looked at seldom: what no collection is needed for goes at once."""

    async def agent(_: RunRequest) -> AsyncIterator[str]:
        yield "a"
        if ending == "failed":
            raise ValueError("broken")
        if ending == "cancelled":
            await asyncio.Event().wait()

    manager = RunManager(MemoryLog(), RunLimits())

    async def whole() -> None:
        run_id = await started(manager, agent)
        follower = await manager.follow(
            FollowRequest(run_id, "alice", START, relay=True, say_caught_up=False)
        )
        if ending == "cancelled":
            run = manager.live(run_id)
            assert run is not None
            run.stop(StopCause.CANCELLED)
            del run
        while await follower.next() is not None:
            pass
        await follower.aclose()

    await whole()
    await asyncio.sleep(0.05)
    caplog.clear()
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            await whole()
        await asyncio.sleep(0.05)
        caplog.clear()
        assert gc.collect() < 10
    finally:
        gc.enable()
    await manager.drain(0, asyncio.Event())


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

    manager = RunManager(MemoryLog(), RunLimits())
    run_id = await started(manager, agent)
    follower = await manager.follow(FollowRequest(run_id, "alice", START, relay=True, say_caught_up=False))
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
