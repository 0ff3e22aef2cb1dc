"""Whether the log can be reached: slow to believe that it can't, and slow to believe that it is back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from agent_core.log.contract import LogAwayError, RunLog
from tokenwire.outage import Outage

AWAY_S: Final = 2.0
"""How long the log must have been away before the core refuses new runs: a short failover is not reported."""

BACK_S: Final = 2.0
"""How long the log must have been back before the core takes new runs again."""

PROBE_S: Final = 1.0
"""How often a log that is away is tried."""

LEASE: Final = ""
"""Stands for this core's lease among those that wait for the log."""

logger = logging.getLogger(__name__)


class LogHealth:
    """Whether the log can be reached, from what its users report. Pure.

    Args:
        on_change: Called with what holds now, whenever that changes.
    """

    def __init__(self, on_change: Callable[[bool], None] = lambda _: None) -> None:
        self.reachable = True
        """Whether the log counts as there."""
        self._on_change = on_change
        self._away_since_s: float | None = None
        self._there_since_s: float | None = None

    def away(self, now_s: float) -> None:
        """Take note that something failed because the log is away.

        Args:
            now_s: Now, in seconds of the monotonic clock.
        """
        self._there_since_s = None
        if self._away_since_s is None:
            self._away_since_s = now_s
        if now_s - self._away_since_s >= AWAY_S:
            self._set(reachable=False)

    def there(self, now_s: float) -> None:
        """Take note that the log has done something.

        Args:
            now_s: Now, in seconds of the monotonic clock.
        """
        self._away_since_s = None
        if self._there_since_s is None:
            self._there_since_s = now_s
        if now_s - self._there_since_s >= BACK_S:
            self._set(reachable=True)

    @property
    def settled(self) -> bool:
        """True while nothing is wrong, and nothing was a moment ago."""
        return self.reachable and self._away_since_s is None

    def _set(self, *, reachable: bool) -> None:
        if reachable != self.reachable:
            self.reachable = reachable
            self._on_change(reachable)


class LogProbe:
    """Tries a log that was away until it is there again.

    Args:
        log: The store.
        health: Gets what came of it.
    """

    def __init__(self, log: RunLog, health: LogHealth) -> None:
        self._log = log
        self._health = health
        self._probing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, since the log is away. A repetition does nothing."""
        if self._probing is None:
            self._probing = asyncio.create_task(self._probe(), name="probe the log")

    def stop(self) -> None:
        """Stop trying."""
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


class LogOutage:
    """Logs that the log is away, and that it is back: once for all runs and the lease together."""

    def __init__(self) -> None:
        self._outage = Outage(
            logger,
            away="the run log can't be reached: events of runs wait for it",
            back="the run log can be reached again",
        )
        self.waiting: set[str] = set()
        """The ids of runs that wait for the log, and LEASE. It is back when there are none."""
        self._runs = 0

    def waits(self, who: str, why: object) -> None:
        """Take note that a run, or the lease, waits for the log.

        Args:
            who: The run's id, or LEASE.
            why: What the log has said.
        """
        self._runs += who != LEASE and who not in self.waiting
        self.waiting.add(who)
        self._outage.begin(why)

    def goes_on(self, who: str) -> None:
        """Take note that it does not wait any longer: the log has answered, or it was given up.

        Args:
            who: The run's id, or LEASE.
        """
        self.waiting.discard(who)
        if not self.waiting:
            self._outage.end(f"{self._runs} runs waited for it")
            self._runs = 0


class LogWatch:
    """Whether the log can be reached, by all that use it: the runs, the lease, and a probe.

    Args:
        log: The store.
        on_change: Called with what holds now, whenever that changes.
        has_lease: Whether a lease is renewed in this log, which finds out by itself when the log is back.
    """

    def __init__(self, log: RunLog, on_change: Callable[[bool], None], *, has_lease: bool) -> None:
        self.outage = LogOutage()
        """Logs it."""
        self._health = LogHealth(on_change)
        self._probe = None if has_lease else LogProbe(log, self._health)

    @property
    def reachable(self) -> bool:
        """Whether runs can be started."""
        return self._health.reachable

    def run_waits(self, run_id: str, error: LogAwayError) -> None:
        """Take note that the log does not take a run's events."""
        self.outage.waits(run_id, error)
        if self._probe is not None:
            self._probe.start()

    def run_goes_on(self, run_id: str) -> None:
        """Take note that a run does not wait for the log any longer."""
        self.outage.goes_on(run_id)

    def lease_away(self, error: Exception) -> None:
        """Take note that the lease can't be renewed."""
        self.outage.waits(LEASE, error)
        self._health.away(time.monotonic())

    def lease_renewed(self) -> None:
        """Take note that the lease was renewed."""
        self._health.there(time.monotonic())
        self.outage.goes_on(LEASE)

    def stop(self) -> None:
        """Stop trying the log."""
        if self._probe is not None:
            self._probe.stop()
