"""The runs of this core: starts them, finds them, ends them all when the core goes down."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Collection
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Final

from opentelemetry.context import Context

from agent_core.agents.catalogue import NamedAgent
from agent_core.errors import (
    CoreDrainingError,
    LimitReachedError,
    RunLostError,
    UnknownRunError,
)
from agent_core.log.contract import (
    LogAwayError,
    LogFullError,
    LogGoneError,
    Position,
    RunInfo,
    RunLog,
    RunRecord,
    SessionBusyError,
)
from agent_core.log.peers import LogScope, NoPeers, PeerMessage, Peers
from agent_core.runs.aftermath import Aftermath
from agent_core.runs.ending import all_ended, ended_elsewhere
from agent_core.runs.follower import MAX_EVENTS, Follower, FollowOrder, Opened, start_of
from agent_core.runs.hooks import RunHooks
from agent_core.runs.limits import Limiter
from agent_core.runs.log_health import LogHealth
from agent_core.runs.log_outage import LogOutage
from agent_core.runs.log_probe import LogProbe
from agent_core.runs.peer_listener import CorePeerListener
from agent_core.runs.request import deadline_of, record_of, refusals, same_request
from agent_core.runs.run import Run
from agent_core.runs.run_id import RANDOM_BITS, TAG_BITS, make_run_id, make_tag
from agent_core.runs.run_order import RunOrder, RunTimes, StopCause
from agent_core.runs.state import RunLimits
from agent_core.runs.transcript import Transcripts
from agent_core.runs.writer import LogRefusedError
from tokenwire.cursor import tag_of
from tokenwire.v1.run_pb2 import OnDisconnect, RunSpec

CANCEL_ANSWER_S: Final = 0.25
"""How long a cancellation waits for the run's end, so that its answer can tell of it. An agent that
stops when told needs a millisecond; for others the answer is that the run is being cancelled."""

logger = logging.getLogger(__name__)


class RunManager:
    """The live runs, and the way to those that have ended.

    Args:
        log: The store.
        times: How long things may take.
        limits: How much one run may say.
        peers: The other cores on the same store.
        limiter: How many runs and follows there may be.
    """

    def __init__(
        self,
        log: RunLog,
        times: RunTimes,
        limits: RunLimits | None = None,
        peers: Peers | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        self.draining = False
        """True when the core is going down: no run is started any more."""
        self.log_health = LogHealth()
        """Whether the log is there."""
        self._log = log
        self._limiter = limiter or Limiter()
        self._times = times
        self._limits = limits or RunLimits()
        self._tag = make_tag(secrets.randbits(TAG_BITS))
        self._live: dict[str, Run] = {}
        self._followers: set[Follower] = set()
        self._peers = peers or NoPeers()
        self._log_outage = LogOutage()
        self.peer_listener = CorePeerListener(
            log, self._peers, self._live, self._followers, self.log_health, self._log_outage
        )
        """Acts on the messages of other cores, and on what becomes of the lease."""
        self.transcripts = Transcripts(log)
        """Reads what was said in sessions."""
        self._aftermath = Aftermath(log)
        self._probe = LogProbe(log, self.log_health)
        self._hooks = RunHooks(
            self._ended, self._degrade, self._log_outage.goes_on, self._peers.wait_for_lease
        )

    @property
    def incarnation(self) -> str:
        """The first characters of the ids that this core mints."""
        return self._tag

    @property
    def strays(self) -> Collection[asyncio.Task[None]]:
        """Tasks of agents that did not stop though their runs have ended."""
        return self._aftermath.strays

    @property
    def log_scope(self) -> LogScope:
        """Where this core's runs can be followed."""
        if self._peers.name:
            return LogScope.SHARED
        return LogScope.PROCESS if self._log.traits.volatile else LogScope.CORE

    @property
    def ready(self) -> bool:
        """True when a run can be started now."""
        return not self.draining and self.log_health.well

    async def start(  # noqa: PLR0913 # what a run needs, from three sources
        self,
        spec: RunSpec,
        agent: NamedAgent,
        *,
        owner: str,
        on_disconnect: OnDisconnect.ValueType,
        parent: Context,
        deadline: float | None = None,
    ) -> str:
        """Return the id of the run that now stands for a request: RunStarted is in its log.

        Args:
            spec: What the caller wants, valid.
            agent: The agent.
            owner: The principal that asks.
            on_disconnect: Holds where the spec leaves it open.
            parent: The trace context of the call.
            deadline: When the call must have ended, in seconds of the monotonic clock; None for never.

        Raises:
            CoreDrainingError: The core is going down.
            CoreFullError: The log has no room.
            PrincipalFullError: It has none for another run of this principal.
            RequestIdReusedError: Another request has used the request id.
            SessionHasRunError: Another run of the session goes on.
            LimitReachedError: The principal has started too many, or too many go on.
            CoreLogAwayError: The log does not take the run's beginning.
            LogAwayError: The same, at once.
        """
        if self.draining:
            raise CoreDrainingError
        run_id = make_run_id(self._tag, secrets.randbits(RANDOM_BITS))
        record = record_of(spec, run_id, agent.name, owner, on_disconnect, self._peers.name)
        try:
            self._limiter.start_run(owner, time.monotonic())
        except LimitReachedError:
            standing = await self._standing(record)
            if standing is None:
                raise
            return same_request(standing, record)
        order = RunOrder(
            record,
            spec,
            agent.agent,
            deadline_of(spec, deadline, self._times.run_timeout_s),
            parent,
            self._limits,
        )
        run = Run(order, self._log, self._times, self._hooks)
        self._live[record.run_id] = run
        with refusals():
            # Shielded: a caller who leaves now has still started the run.
            standing = await asyncio.shield(run.begun)
        return same_request(standing, record)

    async def _standing(self, record: RunRecord) -> RunRecord | None:
        """Return the record of the run that stands for a request already; None where there is none."""
        key = record.request_key
        if not key:
            return None
        run = next((run for run in self._live.values() if run.record.request_key == key), None)
        if run is not None:
            with suppress(LogFullError, SessionBusyError, LogRefusedError):
                return await asyncio.shield(run.begun)
        return await self._log.standing(key)

    def following(self, owner: str) -> AbstractContextManager[None]:
        """Have a place for one follow as long as the block lasts.

        Args:
            owner: The principal that follows.

        Raises:
            LimitReachedError: There is none.
        """
        return self._limiter.follow(owner)

    async def follow(self, order: FollowOrder) -> Follower:
        """Return a follower of a run. Close it.

        Args:
            order: What is asked for.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's.
            RunLostError: It was lost with its core.
        """
        run_id = order.run_id
        run = self._live.get(run_id)
        if run is not None and run.record.owner != order.owner:
            raise UnknownRunError
        if run is not None:
            run.join()

        try:
            opened = await self._open(order, order.after)
        except BaseException:
            if run is not None:
                run.leave(relay=order.relay)
            raise
        info = opened.info
        owner = info.record.core if run is None and info.outcome is None else ""
        if owner:
            self.peer_listener.remote_followers.join(run_id, owner)

        def left(follower: Follower) -> None:
            self._followers.discard(follower)
            if owner:
                # A caller whose stream this core ends, since it goes down, has not left by himself.
                by_itself = follower.client_left or not (order.relay or self.draining)
                self.peer_listener.remote_followers.leave(
                    run_id, by_itself=by_itself and not follower.finished
                )
            elif run is not None and not follower.finished:
                run.leave(relay=order.relay and not follower.client_left)

        follower = Follower(
            opened,
            reopen=partial(self._open, order),
            say_caught_up=order.say_caught_up,
            on_close=left,
        )
        self._followers.add(follower)
        if self.draining:
            follower.drain()
        return follower

    async def _open(self, order: FollowOrder, after: Position) -> Opened:
        """Return the log of a run, opened after a position.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's.
            RunLostError: It was lost with its core.
        """
        info = await self.info(order.run_id, order.owner)
        start = start_of(info, after)
        try:
            tail = await self._log.tail(order.run_id, start[0], MAX_EVENTS, order.max_bytes)
        except LogGoneError as error:
            raise await self._missing(order.run_id) from error
        return Opened(tail, info, start)

    async def info(self, run_id: str, owner: str) -> RunInfo:
        """Return what is known of a run.

        Args:
            run_id: The run.
            owner: The principal that asks.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's: that is not told apart.
            RunLostError: It was lost with its core.
            LogAwayError: It can't be said now.
        """
        info = await self._log.info(run_id)
        run = self._live.get(run_id)
        if info is None and run is not None and run.lost:
            # The log was wiped, and this core has what it had.
            await run.check()
            info = await self._log.info(run_id)
        if info is None:
            raise await self._missing(run_id)
        if info.record.owner != owner:
            raise UnknownRunError
        return info

    def live(self, run_id: str) -> Run | None:
        """Return a run that has not ended; None when it has, or there is none."""
        return self._live.get(run_id)

    async def runs(
        self, owner: str, session_id: str, max_runs: int, place: tuple[int, str] | None
    ) -> list[RunInfo]:
        """Return a session's runs, newest first.

        Args:
            owner: The principal that asks.
            session_id: The session.
            max_runs: The most runs to return.
            place: Where the page before ended: a run's create_unix_nano and its id; None for the first page.
        """
        return await self._log.session_runs(owner, session_id, max_runs, place)

    async def cancel(self, run_id: str, owner: str) -> tuple[RunInfo, bool]:
        """Stop a run's agent, and wait a moment for the end. Return what came of it, and whether it stops.

        Args:
            run_id: The run.
            owner: The principal that asks.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's.
            RunLostError: It was lost with its core.
            LogAwayError: The core that writes it can't be told.
        """
        info = await self.info(run_id, owner)
        run = self._live.get(run_id)
        if run is not None:
            run.stop(StopCause.CANCELLED)
            await all_ended((run,), CANCEL_ANSWER_S)
            return await self.info(run_id, owner), run.stopping
        if info.outcome is not None or not info.record.core:
            return info, False
        if await self._peers.send(info.record.core, PeerMessage("cancel", run_id, self._peers.name)):
            await ended_elsewhere(self._log, info, CANCEL_ANSWER_S)
        # Its core comes back and hears of it, or is gone and the run is closed as lost: it ends either way.
        return await self.info(run_id, owner), True

    async def follower_left(self, run_id: str, owner: str) -> RunInfo:
        """Take the word that one behind a relay has left by itself. Return the run's state.

        Args:
            run_id: The run.
            owner: The principal that asks.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's.
            RunLostError: It was lost with its core.
            LogAwayError: The core that writes it can't be told.
        """
        info = await self.info(run_id, owner)
        run = self._live.get(run_id)
        if run is not None:
            run.follower_left()
        elif info.outcome is None and info.record.core:
            await self._peers.send(info.record.core, PeerMessage("left", run_id, self._peers.name))
        return info

    def _degrade(self, run_id: str, error: LogAwayError) -> None:
        """Tell the followers of a run that the log is away."""
        self._log_outage.waits(run_id, error)
        for follower in self._followers:
            if follower.run_id == run_id:
                follower.degrade()
        if not self._peers.name:  # A lease would find out by itself.
            self._probe.start()

    async def drain(self, drain_s: float, hurry: asyncio.Event) -> None:
        """Return when every run has ended. Starts no more of them.

        Followers are told at once. Runs have their time to come to an end, then they are stopped.

        Args:
            drain_s: How long the runs may go on.
            hurry: Set to stop them at once.
        """
        self.draining = True
        for follower in self._followers:
            follower.drain()
        await all_ended(tuple(self._live.values()), drain_s, hurry)
        late = tuple(self._live.values())
        for run in late:
            run.stop(StopCause.SHUTDOWN)
        if late:
            logger.warning("stopping %d runs that did not end in time", len(late))
            await all_ended(late, None)
        self._probe.stop()
        await self._aftermath.aclose()
        await self.peer_listener.aclose()

    def _ended(self, run: Run, stray: asyncio.Task[None] | None) -> None:
        """Forget a live run. From here on the log alone knows it."""
        self._live.pop(run.record.run_id, None)
        self._limiter.end_run(run.record.owner, repeated=run.repeated)
        if run.lost:
            self._aftermath.reap(run.record.run_id)
        if stray is not None:
            self._aftermath.keep(stray)

    async def _missing(self, run_id: str) -> Exception:
        """Return why a run is not in the log.

        Raises:
            LogAwayError: The log can't say.
        """
        if self._log.traits.volatile and tag_of(run_id) != self._tag:
            return RunLostError()
        if not await self._peers.is_log_complete():
            return LogAwayError("it may have lost this run, and get it back")
        return UnknownRunError()
