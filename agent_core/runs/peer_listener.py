"""What a core does on messages of other cores and when its lease changes; and what it sends them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Final

from agent_core.log.contract import LogAwayError, RunLog
from agent_core.log.peers import PeerMessage, PeerMessageKind, Peers
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


@dataclass(slots=True)
class _RemoteRun:
    """A run of another core that is followed here."""

    owner: str
    followers: int = 0


class RemoteFollowers:
    """Reports to other cores how many follow their runs here.

    It sends numbers, never changes: a lost message is made good by the next one.

    Args:
        peers: The other cores.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._followed: dict[str, _RemoteRun] = {}
        self._unsent: dict[str, str] = {}
        """The owner of each run whose number could not be sent."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def runs(self) -> int:
        """How many runs of other cores are followed here."""
        return len(self._followed)

    def join(self, run_id: str, owner: str) -> None:
        """Count one more follower of a run.

        Args:
            run_id: The run.
            owner: The core that writes it.
        """
        run = self._followed.setdefault(run_id, _RemoteRun(owner))
        run.followers += 1
        self._report(run_id, owner)

    def leave(self, run_id: str, *, by_itself: bool) -> None:
        """Count one follower less.

        Args:
            run_id: The run.
            by_itself: It has left, rather than lost its connection.
        """
        run = self._followed[run_id]
        run.followers -= 1
        if not run.followers:
            del self._followed[run_id]
        if by_itself:
            self._spawn(self._send(run.owner, run_id, "left"))
        self._report(run_id, run.owner)

    def report_all(self) -> None:
        """Report all numbers again: the owners may have lost them."""
        for run_id, run in self._followed.items():
            self._report(run_id, run.owner)

    def report_unsent(self) -> None:
        """Report what could not be sent before."""
        unsent, self._unsent = self._unsent, {}
        for run_id, owner in unsent.items():
            self._report(run_id, owner)

    async def aclose(self) -> None:
        """Stop reporting."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _report(self, run_id: str, owner: str) -> None:
        self._spawn(self._send(owner, run_id, "following"))

    async def _send(self, owner: str, run_id: str, kind: PeerMessageKind) -> None:
        run = self._followed.get(run_id)
        message = PeerMessage(kind, run_id, self._peers.name, run.followers if run is not None else 0)
        try:
            await self._peers.send(owner, message)
        except LogAwayError as error:
            logger.debug("can't report the followers of run %s to core %s: %s", run_id, owner, error)
            self._unsent[run_id] = owner

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        # Tasks begin in the order in which they were made: messages keep the order of events.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class CorePeerListener:
    """The `PeerListener` of a core: acts on its runs and their followers.

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
        self.remote_followers = RemoteFollowers(peers)
        """Those who follow runs of other cores here."""
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

    def on_message(self, message: PeerMessage) -> None:
        """Do what a message says about a run that this core writes."""
        run = self._live.get(message.run_id)
        if run is None:
            return  # It has ended in the meantime.
        match message.kind:
            case "cancel":
                run.stop(StopCause.CANCELLED)
            case "left":
                run.follower_left()
            case "following":
                run.follows_elsewhere(message.core, message.followers)

    def on_peer_lost(self, core: str) -> None:
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

    async def on_lease_lost(self) -> None:
        """Find out which runs this core still writes, and tell others again who follows here."""
        unsure = tuple(self._live.values())
        while unsure:
            known = await asyncio.gather(*(run.check() for run in unsure))
            unsure = tuple(run for run, is_known in zip(unsure, known, strict=True) if not is_known)
            if unsure:
                await asyncio.sleep(CHECK_AGAIN_S)
        self.remote_followers.report_all()

    def on_lease_renewed(self) -> None:
        """Tell what could not be told, and close what nobody writes any more."""
        self._health.there(time.monotonic())
        self._outage.goes_on(LEASE)
        self.remote_followers.report_unsent()
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

    def on_log_away(self, error: Exception) -> None:
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
        await self.remote_followers.aclose()

    def _close(self, core: str, work: Coroutine[None, None, None]) -> None:
        """Let a core's runs be closed, once at a time, and not while this one goes down."""
        if self._closed:
            work.close()
            return
        closing = self._closing[core] = asyncio.create_task(
            work, name=f"close the runs of {core or 'nobody'}"
        )
        closing.add_done_callback(lambda _: self._closing.pop(core, None))
