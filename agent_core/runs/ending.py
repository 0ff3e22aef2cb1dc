"""Waiting for runs to end, for so long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Any

from agent_core.log.contract import LogAwayError, LogGoneError, RunInfo, RunLog
from agent_core.runs.follower import MAX_BYTES, MAX_EVENTS
from agent_core.runs.run import Run


async def all_ended(runs: Sequence[Run], within_s: float | None, hurry: asyncio.Event | None = None) -> None:
    """Return when all runs have ended, the time has passed, or there is a hurry.

    Args:
        runs: Live ones, of this core.
        within_s: How long to wait; None for as long as it takes.
        hurry: Set to wait no longer; None for nothing that could be set.
    """

    async def each() -> None:
        for run in runs:
            await run.ended.wait()

    waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(each())}
    if hurry is not None:
        waits.add(asyncio.ensure_future(hurry.wait()))
    try:
        await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def ended_elsewhere(log: RunLog, info: RunInfo, within_s: float) -> None:
    """Return when another core's run has ended, was forgotten, can't be read, or the time has passed.

    Args:
        log: The store.
        info: The run as it was.
        within_s: How long to wait.
    """
    with suppress(TimeoutError, LogGoneError, LogAwayError):
        async with asyncio.timeout(within_s):
            tail = await log.tail(info.record.run_id, info.last, MAX_EVENTS, MAX_BYTES)
            async with aclosing(tail):
                while not (await tail.next()).complete:
                    pass
