"""What the garbage collector has to look at, however long the logs grow."""

from __future__ import annotations

import asyncio
import gc

from agent_core.log.contract import RunLog
from agent_core.log.position import START
from tests.support.stores import FAR, RUN, payloads, record

EVENTS = 2_000
FEW = EVENTS // 20
"""More than what a store has on its way; far less than an object for each event."""


def tracked() -> int:
    """Return how many objects the collector looks at, without garbage, in a full collection."""
    gc.collect()
    return len(gc.get_objects())


async def test_events_in_memory_are_nothing_that_the_collector_looks_at(log: RunLog) -> None:
    """Neither in the log, nor on the way to one who waits and to one who polls."""
    await log.create(record())
    waits, polls = await log.tail(RUN, START, 512, FAR), await log.tail(RUN, START, 512, FAR)
    polls.notify(lambda: None)
    kept: list[bytes] = []

    async def write(first: int) -> None:
        waiting = asyncio.create_task(waits.next())
        await asyncio.sleep(0)
        await log.append(RUN, 1, first, payloads(first, 10))
        kept.extend((await waiting).events)
        batch = polls.poll()
        assert batch is not None
        kept.extend(batch.events)

    await write(1)
    before = tracked()
    for first in range(11, EVENTS + 1, 10):
        await write(first)
    assert tracked() - before < FEW
    assert len(kept) == 2 * EVENTS, "a reader did not get all"
    assert not any(map(gc.is_tracked, kept))
    await waits.aclose()
    await polls.aclose()
