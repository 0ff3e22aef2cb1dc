"""Tries a log that was away until it is there again, where nothing else uses it all the time."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from agent_core.log.contract import LogAwayError, RunLog
from agent_core.runs.log_health import LogHealth

PROBE_S: Final = 1.0
"""How often it is tried."""


class LogProbe:
    """Tries one log.

    Args:
        log: The store.
        health: Is told what came of it.
    """

    def __init__(self, log: RunLog, health: LogHealth) -> None:
        self._log = log
        self._health = health
        self._probing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the word that the log is away; once."""
        if self._probing is None:
            self._probing = asyncio.create_task(self._probe(), name="probe the log")

    def stop(self) -> None:
        """Leave off."""
        if self._probing is not None:
            self._probing.cancel()

    async def _probe(self) -> None:
        """Try the log until it has been there again for a while."""
        self._health.away(time.monotonic())
        try:
            while not self._health.settled:
                await asyncio.sleep(PROBE_S)
                try:
                    await self._log.probe()
                except LogAwayError:
                    self._health.away(time.monotonic())
                else:
                    self._health.there(time.monotonic())
        finally:
            self._probing = None
