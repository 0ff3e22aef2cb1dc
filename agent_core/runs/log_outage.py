"""Logs that the run log is away, and that it is back: once for all runs and the lease together."""

from __future__ import annotations

import logging
from typing import Final

from tokenwire.outage import Outage

LEASE: Final = ""
"""Stands for this core's lease among those that wait for the log."""

logger = logging.getLogger(__name__)


class LogOutage:
    """Knows who waits for the log. It is back when nobody does."""

    def __init__(self) -> None:
        self._outage = Outage(
            logger,
            away="the run log can't be reached: events of runs wait for it",
            back="the run log can be reached again",
        )
        self._waiting: set[str] = set()
        self._runs = 0

    def waits(self, who: str, why: object) -> None:
        """Take note that a run, or the lease, waits for the log.

        Args:
            who: The run's id, or LEASE.
            why: What the log has said.
        """
        self._runs += who != LEASE and who not in self._waiting
        self._waiting.add(who)
        self._outage.begin(why)

    def goes_on(self, who: str) -> None:
        """Take note that it does not wait any longer: the log has answered, or it was given up.

        Args:
            who: The run's id, or LEASE.
        """
        self._waiting.discard(who)
        if not self._waiting:
            self._outage.end(f"{self._runs} runs waited for it")
            self._runs = 0
