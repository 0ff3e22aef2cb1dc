"""The runs of this core: starts them, stops them, ends them all when the core goes down."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Final

from opentelemetry.context import Context

from agent_core.agents.catalogue import NamedAgent
from agent_core.errors import CoreDrainingError, InputClosedError, LimitReachedError
from agent_core.log.contract import RunLog
from agent_core.log.errors import LogAwayError, LogGoneError
from agent_core.log.peers import LogScope, NoPeers, PeerMessage, PeerMessageKind, Peers
from agent_core.log.records import RunInfo, RunRecord
from agent_core.runs.follower import Follower, FollowRequest
from agent_core.runs.following import Followers, ended_elsewhere
from agent_core.runs.health import LogWatch
from agent_core.runs.inputs import Answer
from agent_core.runs.limits import Limiter, RunLimits
from agent_core.runs.peer_listener import CorePeerListener
from agent_core.runs.reaper import Reaper
from agent_core.runs.registry import RunRegistry, all_ended
from agent_core.runs.remote_inputs import RemoteInputs, is_waiting_elsewhere
from agent_core.runs.run import Run, RunHooks, StopCause
from agent_core.runs.start_request import (
    RANDOM_BITS,
    TAG_BITS,
    StartRequest,
    deadlines_of,
    make_run_id,
    make_tag,
    record_of,
    refusals,
    same_request,
)
from agent_core.runs.transcript import Transcripts
from tokenwire.v1.run_pb2 import OnDisconnect, RunSpec

CANCEL_ANSWER_S: Final = 0.25
"""How long a cancellation waits for the run's end, so that its answer has it. An agent that stops when it is
cancelled needs a millisecond; for others the answer is that the run is being cancelled."""

logger = logging.getLogger(__name__)


def _nothing(*_: object) -> None:
    """Do nothing."""


class RunManager:
    """Starts and stops runs, on behalf of their owners.

    Args:
        log: The store.
        limits: How long and how large one run may become.
        peers: The other cores on the same store.
        limiter: How many runs and follows there may be.
        on_log_change: Called with whether the log can be reached, whenever that changes.
    """

    def __init__(
        self,
        log: RunLog,
        limits: RunLimits,
        peers: Peers | None = None,
        limiter: Limiter | None = None,
        on_log_change: Callable[[bool], None] = _nothing,
    ) -> None:
        self.draining = False
        """True when the core is going down: no run is started any more."""
        self.incarnation = make_tag(secrets.randbits(TAG_BITS))
        """The first characters of the ids that this core mints."""
        self.limiter = limiter or Limiter()
        """Counts runs and follows."""
        self.transcripts = Transcripts(log)
        """Reads what was said in sessions."""
        self._log = log
        self._limits = limits
        self._peers = peers = peers or NoPeers()
        self.log_watch = LogWatch(log, on_log_change, has_lease=bool(peers.name))
        """Whether the log can be reached."""
        self.registry = RunRegistry(log, peers, self.incarnation)
        """The live runs, and what is known of all others."""
        self.followers = Followers(log, self.registry, peers)
        """Those who follow at this core."""
        self._remote_inputs = RemoteInputs(log, peers)
        self.peer_listener = CorePeerListener(
            log, peers, self.registry, self.followers, self.log_watch, self._remote_inputs
        )
        """Acts on the messages of other cores, and on what becomes of the lease."""
        self._reaper = Reaper(log)
        self._hooks = RunHooks(self._ended, self._degrade, self.log_watch.run_goes_on, peers.wait_for_lease)

    @property
    def unstopped_agents(self) -> Collection[asyncio.Task[None]]:
        """Tasks of agents that did not stop though their runs have ended."""
        return self._reaper.unstopped_agents

    @property
    def log_scope(self) -> LogScope:
        """Where this core's runs can be followed."""
        if self._peers.name:
            return LogScope.SHARED
        return LogScope.PROCESS if self._log.traits.volatile else LogScope.CORE

    @property
    def ready(self) -> bool:
        """True when a run can be started now."""
        return not self.draining and self.log_watch.reachable

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
        run_id = make_run_id(self.incarnation, secrets.randbits(RANDOM_BITS))
        record = record_of(spec, run_id, agent.name, owner, on_disconnect, self._peers.name)
        try:
            self.limiter.start_run(owner, time.monotonic())
        except LimitReachedError:
            standing = await self.registry.standing(record)
            if standing is None:
                raise
            return same_request(standing, record)
        deadlines = deadlines_of(spec, deadline, self._limits.run_timeout_s)
        standing = await self._begin(StartRequest(record, spec, agent.agent, deadlines, parent))
        return same_request(standing, record)

    async def _begin(self, request: StartRequest) -> RunRecord:
        """Return the record of the run that now stands for a request: it was begun, or was there before."""
        run = Run(request, self._log, self._limits, self._hooks)
        self.registry.add(run)
        with refusals():
            # Shielded: a caller who leaves now has still started the run.
            return await asyncio.shield(run.begun)

    def following(self, owner: str) -> AbstractContextManager[None]:
        """Have a place for one follow as long as the block lasts.

        Args:
            owner: The principal that follows.

        Raises:
            LimitReachedError: A limit is reached.
        """
        return self.limiter.follow(owner)

    async def follow(self, request: FollowRequest) -> Follower:
        """Return a follower of a run. Close it.

        Args:
            request: What is asked for.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's.
            RunLostError: It was lost with its core.
        """
        return await self.followers.follow(request)

    async def info(self, run_id: str, owner: str) -> RunInfo:
        """Return what is known of a run.

        Args:
            run_id: The run.
            owner: The principal that asks.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's: a caller can't tell which.
            RunLostError: It was lost with its core.
            LogAwayError: It can't be said now.
        """
        return await self.registry.info(run_id, owner)

    def live(self, run_id: str) -> Run | None:
        """Return a run that has not ended; None when it has, or there is none."""
        return self.registry.live(run_id)

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
            LogAwayError: The core that writes it can't be reached.
        """
        info = await self.registry.info(run_id, owner)
        run = self.registry.live(run_id)
        if run is not None:
            run.stop(StopCause.CANCELLED)
            await all_ended((run,), CANCEL_ANSWER_S)
            return await self.registry.info(run_id, owner), run.stopping
        if not _is_live_elsewhere(info):
            return info, False
        if await self._send("cancel", info):
            await ended_elsewhere(self._log, info, CANCEL_ANSWER_S)
        # Its core comes back and gets the message, or is gone and the run is closed as lost: it ends anyway.
        return await self.registry.info(run_id, owner), True

    async def follower_left(self, run_id: str, owner: str) -> RunInfo:
        """Take note that a follower behind a relay has left by itself. Return the run's state.

        Args:
            run_id: The run.
            owner: The principal that asks.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's.
            RunLostError: It was lost with its core.
            LogAwayError: The core that writes it can't be reached.
        """
        info = await self.registry.info(run_id, owner)
        run = self.registry.live(run_id)
        if run is not None:
            run.followers.left_by_itself()
        elif _is_live_elsewhere(info):
            await self._send("left", info)
        return info

    async def send_input(self, run_id: str, owner: str, input_id: str, answer: Answer) -> str:
        """Answer or decline a question of a run. Return its outcome, once that is in the log.

        Args:
            run_id: The run.
            owner: The principal that asks.
            input_id: The question.
            answer: What was sent.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's.
            RunLostError: It was lost with its core.
            UnknownInputError: It has no such question.
            InputClosedError: The question takes no answer any more.
            InvalidRequestError: It does not accept this one.
            CoreLogAwayError: Whether it was taken is not known.
            LogAwayError: The log, or the core that writes the run, can't be reached.
        """
        info = await self.registry.info(run_id, owner)
        run = self.registry.live(run_id)
        if run is not None:
            return await run.inputs.receive(input_id, answer)
        if not _is_live_elsewhere(info):
            raise InputClosedError("")
        return await self._remote_inputs.send(info, input_id, answer)

    async def is_waiting(self, info: RunInfo) -> bool:
        """Return whether a run waits for a person.

        Args:
            info: What is known of it.
        """
        run = self.registry.live(info.record.run_id)
        if run is not None:
            return run.inputs.is_waiting
        if not _is_live_elsewhere(info):
            return False
        try:
            return await is_waiting_elsewhere(self._log, info)
        except LogGoneError:
            return False  # It was forgotten meanwhile.

    async def _send(self, kind: PeerMessageKind, info: RunInfo) -> bool:
        """Send a message to the core that writes a run. Return whether it holds its lease."""
        message = PeerMessage(kind, info.record.run_id, self._peers.name)
        return await self._peers.send(info.record.core, message)

    async def drain(self, drain_s: float, hurry: asyncio.Event) -> None:
        """Return when every run has ended. Starts no more of them.

        Followers get a control at once. Runs have their time to come to an end, then they are stopped.

        Args:
            drain_s: How long the runs may go on.
            hurry: Set to stop them at once.
        """
        self.draining = True
        self.followers.drain()
        await all_ended(tuple(self.registry), drain_s, hurry)
        late = tuple(self.registry)
        for run in late:
            run.stop(StopCause.SHUTDOWN)
        if late:
            logger.warning("stopping %d runs that did not end in time", len(late))
            await all_ended(late, None)
        self.log_watch.stop()
        await self._reaper.aclose()
        await self.peer_listener.aclose()

    def _degrade(self, run_id: str, error: LogAwayError) -> None:
        """Tell the followers of a run that the log is away."""
        self.log_watch.run_waits(run_id, error)
        self.followers.degrade(run_id)

    def _ended(self, run: Run, unstopped: asyncio.Task[None] | None) -> None:
        """Give back what a run has taken. Every run passes here, once."""
        self.registry.remove(run)
        self.limiter.end_run(run.record.owner, repeated=run.repeated)
        if run.lost:
            self._reaper.reap(run.record.run_id)
        if unstopped is not None:
            self._reaper.keep(unstopped)


def _is_live_elsewhere(info: RunInfo) -> bool:
    """Return whether another core writes a run, if it is not live here."""
    return info.outcome is None and bool(info.record.core)
