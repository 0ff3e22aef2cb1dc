"""What runs leave behind: agents that do not stop, and logs without a terminal event."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from agent_core.log.contract import RunLog
from agent_core.runs.agent_thread import AgentThread
from agent_core.runs.orphans import reap_when_possible

STRAY_S: Final = 1.0
"""How long the core waits, at its own end, for agents that did not stop when their runs ended."""

logger = logging.getLogger(__name__)


class Aftermath:
    """Keeps what is left of runs that are over.

    Args:
        log: The store.
    """

    def __init__(self, log: RunLog) -> None:
        self.strays: set[asyncio.Task[None]] = set()
        """Tasks of agents that did not stop though their runs have ended."""
        self._log = log
        self._reaping: set[asyncio.Task[None]] = set()

    def reap(self, run_id: str) -> None:
        """Give a run its end as soon as the log takes it: its followers wait for it."""
        reaping = asyncio.create_task(reap_when_possible(self._log, run_id))
        self._reaping.add(reaping)
        reaping.add_done_callback(self._reaping.discard)

    def keep(self, stray: asyncio.Task[None]) -> None:
        """Keep the task of an agent that did not stop until it does."""
        self.strays.add(stray)
        stray.add_done_callback(self._stray_stopped)

    async def aclose(self) -> None:
        """Give agents that did not stop a last chance. What is not reaped by now, the next core reaps."""
        if self.strays:
            for stray in self.strays:
                stray.cancel()
            await asyncio.wait(tuple(self.strays), timeout=STRAY_S)
        if self.strays:
            logger.error("%d agents did not stop", len(self.strays))
        if busy := await AgentThread.busy(STRAY_S):
            logger.error("%d agents that are not async did not stop: their `finally` blocks do not run", busy)
        for reaping in self._reaping:
            reaping.cancel()

    def _stray_stopped(self, stray: asyncio.Task[None]) -> None:
        """Forget an agent's task that came to an end after all."""
        self.strays.discard(stray)
        if not stray.cancelled() and stray.exception() is not None:
            logger.warning("%s raised after its run", stray.get_name(), exc_info=stray.exception())
