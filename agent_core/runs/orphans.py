"""Runs whose agent's process is gone: they get their terminal event from whoever finds them."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from agent_core.runs.encoding import encode_payload, new_event
from agent_core.runs.failures import PRODUCER_LOST
from agent_core.runs.log.contract import FIRST_EPOCH, Appended, AppendStatus, LogAwayError, RunLog
from agent_core.runs.outcome import Outcome
from tokenwire.telemetry import monotonic_nano

RETRY_S: Final = 1.0
"""How often it is tried while the log is away."""


async def reap_orphans(log: RunLog, core: str | None = None) -> int:
    """Close the runs that a store knows as open. Return how many they were.

    Only for one who knows that nobody writes them: a core that starts on a store of its own, or one that
    knows that another is gone.

    Args:
        log: The store.
        core: Whose runs; None for all.
    """
    appended = [await reap(log, run_id) for run_id in await log.open_runs(core)]
    return sum(answer.status is AppendStatus.OK for answer in appended)


async def reap_when_possible(log: RunLog, run_id: str) -> None:
    """Close a run that its writer has given up, as soon as the log is not away any more.

    Does nothing where the log has refused it for good: another core has the run, or nobody knows it.
    """
    while True:
        try:
            await reap(log, run_id)
        except LogAwayError:
            await asyncio.sleep(RETRY_S)
        else:
            return


async def reap(log: RunLog, run_id: str) -> Appended:
    """Return what became of the terminal event of a lost run: no core has reaped it so far."""
    return await log.reap(run_id, FIRST_EPOCH, _lost(), Outcome("error", PRODUCER_LOST.code))


def _lost() -> bytes:
    """Return the payload of the terminal event of a lost run."""
    event = new_event(time.time_ns())
    event.error.code = PRODUCER_LOST.code
    event.error.message = PRODUCER_LOST.message
    event.error.retryable = PRODUCER_LOST.retryable
    event.error.details.update(PRODUCER_LOST.details)
    return encode_payload(event, monotonic_nano())
