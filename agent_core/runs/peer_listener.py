"""What a core does on messages of other cores, and when its lease is lost or renewed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Final

from agent_core.log.contract import RunLog
from agent_core.log.errors import LogAwayError
from agent_core.log.peers import PeerMessage, Peers
from agent_core.runs.following import Followers
from agent_core.runs.health import LogWatch
from agent_core.runs.reaper import reap, reap_orphans
from agent_core.runs.registry import RunRegistry
from agent_core.runs.remote_inputs import RemoteInputs
from agent_core.runs.run import StopCause
from tokenwire.outage import Repeats

TIDY_RENEWALS: Final = 10
"""After so many renewals of the lease, about one a second, the log is searched for runs without a writer."""

CHECK_AGAIN_S: Final = 0.25
"""How soon runs are checked again where the log could not be reached."""

OWN: Final = ""
"""This core, among those whose runs are being closed."""

logger = logging.getLogger(__name__)


class CorePeerListener:
    """The `PeerListener` of a core: acts on its runs and their followers.

    Args:
        log: The store.
        peers: The other cores.
        registry: The runs of this core.
        followers: Those who follow at this core.
        log_watch: Whether the log can be reached.
        inputs: Takes answers that come by way of other cores.
    """

    def __init__(  # noqa: PLR0913, PLR0917 # all that other cores concern
        self,
        log: RunLog,
        peers: Peers,
        registry: RunRegistry,
        followers: Followers,
        log_watch: LogWatch,
        inputs: RemoteInputs,
    ) -> None:
        self._log = log
        self._peers = peers
        self._registry = registry
        self._followers = followers
        self._log_watch = log_watch
        self._inputs = inputs
        self._failures = Repeats()
        self._renewals = 0
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def on_message(self, message: PeerMessage) -> None:
        """Do what a message says about a run that this core writes."""
        if message.kind == "input_reply":
            self._inputs.on_reply(message)
            return
        run = self._registry.live(message.run_id)
        if message.kind == "input":
            self._inputs.on_input(message, run.inputs if run is not None else None)
            return
        if run is None:
            return  # It has ended in the meantime.
        match message.kind:
            case "cancel":
                run.stop(StopCause.CANCELLED)
            case "left":
                run.followers.left_by_itself()
            case "following":
                run.followers.set_elsewhere(message.core, message.followers)

    def on_peer_lost(self, core: str) -> None:
        """Close the runs of a core that is gone."""
        for run in self._registry:
            run.followers.set_elsewhere(core, 0)
        if core not in self._closing:
            self._close(core, self._close_runs_of(core))

    async def _close_runs_of(self, core: str) -> None:
        """Close the runs of a lost core, and forget it. A failure is mended by the next on_peer_lost."""
        try:
            lost = await reap_orphans(self._log, core)
            if lost:
                logger.warning("core %s was lost: %d of its runs were closed", core, lost)
            await self._peers.forget(core)
        except LogAwayError as error:
            text = "the runs of core %s could not be closed: %s"
            self._failures.log(logger, logging.WARNING, text, core, error)

    async def on_lease_lost(self) -> None:
        """Find out which runs this core still writes, and report again how many follow here."""
        unsure = tuple(self._registry)
        while unsure:
            known = await asyncio.gather(*(run.check() for run in unsure))
            unsure = tuple(run for run, is_known in zip(unsure, known, strict=True) if not is_known)
            if unsure:
                await asyncio.sleep(CHECK_AGAIN_S)
        self._followers.remote.report_all()

    def on_lease_renewed(self) -> None:
        """Report what could not be reported before, and close runs that have no writer any more."""
        self._log_watch.lease_renewed()
        self._followers.remote.report_unsent()
        if not self._renewals % TIDY_RENEWALS and OWN not in self._closing:
            self._close(OWN, self._tidy())
        self._renewals += 1

    async def _tidy(self) -> None:
        """Close runs that are this core's in the log, but that it does not write.

        A log that was set back to an earlier state has runs open again whose end it has lost.
        """
        try:
            for run_id in await self._log.open_runs(self._peers.name):
                if run_id not in self._registry:
                    logger.warning("run %s was open again in the log: closing it", run_id)
                    await reap(self._log, run_id)
        except LogAwayError as error:
            self._failures.log(logger, logging.WARNING, "the log could not be cleaned up: %s", error)

    def on_log_away(self, error: Exception) -> None:
        """Tell all followers that the log is away."""
        self._log_watch.lease_away(error)
        self._renewals = 0  # Once it is back, search at once for runs that this core has given up meanwhile.
        self._followers.degrade()

    async def aclose(self) -> None:
        """Stop. The next core on the same log closes the runs that are not closed by now."""
        self._closed = True
        for task in self._closing.values():
            task.cancel()
        await self._followers.remote.aclose()
        await self._inputs.aclose()

    def _close(self, core: str, work: Coroutine[None, None, None]) -> None:
        """Close a core's runs in a task: one at a time, and none while this core goes down."""
        if self._closed:
            work.close()
            return
        closing = self._closing[core] = asyncio.create_task(
            work, name=f"close the runs of {core or 'this core'}"
        )
        closing.add_done_callback(lambda _: self._closing.pop(core, None))
