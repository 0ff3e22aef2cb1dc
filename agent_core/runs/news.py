"""What a core hears of other cores and of its lease, and what it does about its runs then."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Coroutine, Mapping
from typing import Final

from agent_core.log.contract import LogAwayError, RunLog
from agent_core.log.peers import Peers, Word
from agent_core.runs.elsewhere import Elsewhere
from agent_core.runs.follower import Follower
from agent_core.runs.log_health import LogHealth
from agent_core.runs.log_outage import LEASE, LogOutage
from agent_core.runs.orphans import reap, reap_orphans
from agent_core.runs.run import Run
from agent_core.runs.run_order import StopCause
from tokenwire.outage import Repeats

TIDY_RENEWALS: Final = 10
"""After so many renewals of the lease, about as many seconds, runs are looked for that nobody writes."""

CHECK_AGAIN_S: Final = 0.25
"""How soon the log is asked again about runs that it could say nothing of."""

OWN: Final = ""
"""Stands for this core among those whose runs are being closed."""

logger = logging.getLogger(__name__)


class News:
    """Acts on what is heard: the `Hears` of this core.

    Args:
        log: The store.
        peers: The other cores.
        live: The live runs by their ids, as the manager keeps them.
        followers: Those who follow here, as the manager keeps them.
        health: Whether the log is there.
        outage: Logs that it is not.
    """

    def __init__(  # noqa: PLR0913, PLR0917 # what it acts on
        self,
        log: RunLog,
        peers: Peers,
        live: Mapping[str, Run],
        followers: Collection[Follower],
        health: LogHealth,
        outage: LogOutage,
    ) -> None:
        self.elsewhere = Elsewhere(peers)
        """The runs of other cores that are followed here."""
        self._log = log
        self._peers = peers
        self._live = live
        self._followers = followers
        self._health = health
        self._outage = outage
        self._failures = Repeats()
        self._renewals = 0
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def heard(self, word: Word) -> None:
        """Take a word for a run that this core writes."""
        run = self._live.get(word.run_id)
        if run is None:
            return  # It has ended in the meantime.
        match word.kind:
            case "cancel":
                run.stop(StopCause.CANCELLED)
            case "left":
                run.follower_left()
            case "following":
                run.follows_elsewhere(word.core, word.followers)

    def peer_lost(self, core: str) -> None:
        """Close the runs of a core that is gone."""
        for run in self._live.values():
            run.follows_elsewhere(core, 0)
        if core not in self._closing:
            self._close(core, self._close_runs_of(core))

    async def _close_runs_of(self, core: str) -> None:
        """Write the end of each run of a lost core, and forget it. What fails is done another time."""
        try:
            lost = await reap_orphans(self._log, core)
            if lost:
                logger.warning("core %s was lost: %d of its runs were closed", core, lost)
            await self._peers.forget(core)
        except LogAwayError as error:
            text = "the runs of core %s could not be closed: %s"
            self._failures.log(logger, logging.WARNING, text, core, error)

    async def lease_lost(self) -> None:
        """Find out which runs this core still writes, and tell others again who follows here."""
        unsure = tuple(self._live.values())
        while unsure:
            known = await asyncio.gather(*(run.check() for run in unsure))
            unsure = tuple(run for run, is_known in zip(unsure, known, strict=True) if not is_known)
            if unsure:
                await asyncio.sleep(CHECK_AGAIN_S)
        self.elsewhere.announce_all()

    def renewed(self) -> None:
        """Tell what could not be told, and close what nobody writes any more."""
        self._health.there(time.monotonic())
        self._outage.goes_on(LEASE)
        self.elsewhere.announce_untold()
        if not self._renewals % TIDY_RENEWALS and OWN not in self._closing:
            self._close(OWN, self._tidy())
        self._renewals += 1

    async def _tidy(self) -> None:
        """Close the runs that are this core's in the log, and that it does not know.

        A log that was set back to an earlier state has runs open again whose end it has lost.
        """
        try:
            for run_id in await self._log.open_runs(self._peers.name):
                if run_id not in self._live:
                    logger.warning("run %s was open again in the log: closing it", run_id)
                    await reap(self._log, run_id)
        except LogAwayError as error:
            self._failures.log(logger, logging.WARNING, "the log could not be cleaned up: %s", error)

    def log_away(self, error: Exception) -> None:
        """Tell every follower that the log is away."""
        self._outage.waits(LEASE, error)
        self._health.away(time.monotonic())
        self._renewals = 0  # Once it is back, see at once what was begun there and given up here.
        for follower in self._followers:
            follower.degrade()

    async def aclose(self) -> None:
        """Stop acting. What is not closed by now, the next core on the same log closes."""
        self._closed = True
        for task in self._closing.values():
            task.cancel()
        await self.elsewhere.aclose()

    def _close(self, core: str, work: Coroutine[None, None, None]) -> None:
        """Let a core's runs be closed, once at a time, and not while this one goes down."""
        if self._closed:
            work.close()
            return
        closing = self._closing[core] = asyncio.create_task(
            work, name=f"close the runs of {core or 'nobody'}"
        )
        closing.add_done_callback(lambda _: self._closing.pop(core, None))
