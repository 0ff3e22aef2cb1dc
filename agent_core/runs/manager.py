"""The runs of this core: starts them, finds them, ends them all when the core goes down."""

from __future__ import annotations

import asyncio
import enum
import hashlib
import logging
import secrets
import time
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Final

from opentelemetry.context import Context

from agent_core.agents.catalogue import NamedAgent
from agent_core.errors import (
    CoreDrainingError,
    CoreFullError,
    LimitReachedError,
    RequestIdReusedError,
    RunLostError,
    SessionHasRunError,
    UnknownRunError,
)
from agent_core.runs.elsewhere import Elsewhere
from agent_core.runs.follower import MAX_BYTES, MAX_EVENTS, Follower, FollowOrder, Opened, start_of
from agent_core.runs.limits import Limiter
from agent_core.runs.log.contract import (
    LogAwayError,
    LogFullError,
    LogGoneError,
    Position,
    RunInfo,
    RunLog,
    RunRecord,
    SessionBusyError,
)
from agent_core.runs.log_health import LogHealth
from agent_core.runs.orphans import reap, reap_orphans, reap_when_possible
from agent_core.runs.peers import Alone, Peers, Word
from agent_core.runs.run import Run, RunOrder, RunTimes, StopCause, Surroundings
from agent_core.runs.run_id import RANDOM_BITS, TAG_BITS, make_run_id, make_tag, tag_of
from agent_core.runs.state import RunLimits
from tokenwire.v1.run_pb2 import OnDisconnect, RunSpec

CANCEL_ANSWER_S: Final = 0.25
"""How long a cancellation waits for the run's end, so that its answer can tell of it. An agent that
stops when told needs a millisecond; for others the answer is that the run is being cancelled."""

TIDY_RENEWALS: Final = 10
"""After so many renewals of the lease, about as many seconds, runs are looked for that nobody writes."""

PROBE_S: Final = 1.0
"""How often a log that was away is tried, where nothing else uses it all the time."""

CHECK_AGAIN_S: Final = 0.25
"""How soon the log is asked again about runs that it could say nothing of."""

OWN: Final = ""
"""Stands for this core among those whose runs are being closed."""

STRAY_S: Final = 1.0
"""How long the core waits, at its own end, for agents that did not stop when their runs ended."""

logger = logging.getLogger(__name__)


class LogScope(enum.Enum):
    """Where the runs of a core can be followed."""

    PROCESS = "process"
    """At this process alone."""
    CORE = "core"
    """At this core, or the one that comes after it."""
    SHARED = "shared"
    """At every core on the same store."""


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
        self.strays: set[asyncio.Task[None]] = set()
        """Tasks of agents that did not stop though their runs have ended."""
        self.log_health = LogHealth()
        """Whether the log is there."""
        self._log = log
        self._limiter = limiter or Limiter()
        self._probing: asyncio.Task[None] | None = None
        self._times = times
        self._limits = limits or RunLimits()
        self._tag = make_tag(secrets.randbits(TAG_BITS))
        self._live: dict[str, Run] = {}
        self._followers: set[Follower] = set()
        self._reaping: set[asyncio.Task[None]] = set()
        self._peers = peers or Alone()
        self._elsewhere = Elsewhere(self._peers)
        self._renewals = 0
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._surroundings = Surroundings(self._ended, self._degrade, self._peers.held)

    @property
    def incarnation(self) -> str:
        """The first characters of the ids that this core mints."""
        return self._tag

    @property
    def log_scope(self) -> LogScope:
        """Where this core's runs can be followed."""
        if self._peers.name:
            return LogScope.SHARED
        return LogScope.PROCESS if self._log.volatile else LogScope.CORE

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
            RequestIdReusedError: Another request has used the request id.
            SessionHasRunError: Another run of the session goes on.
            LimitReachedError: The principal has started too many, or too many go on.
        """
        if self.draining:
            raise CoreDrainingError
        record = RunRecord(
            run_id=make_run_id(self._tag, secrets.randbits(RANDOM_BITS)),
            session_id=spec.session_id,
            agent=agent.name,
            on_disconnect=spec.on_disconnect or on_disconnect,
            create_unix_nano=time.time_ns(),
            owner=owner,
            # Each principal has request ids of its own. A principal's name has no line break.
            request_key=f"{owner}\n{spec.request_id}" if spec.request_id else "",
            fingerprint=fingerprint(spec) if spec.request_id else b"",
            core=self._peers.name,
        )
        try:
            self._limiter.start_run(owner, time.monotonic())
        except LimitReachedError:
            standing = await self._standing(record)
            if standing is None:
                raise
            return _same(standing, record)
        order = RunOrder(record, spec, agent.agent, self._deadline(spec, deadline), parent, self._limits)
        run = Run(order, self._log, self._times, self._surroundings)
        self._live[record.run_id] = run
        try:
            # Shielded: a caller who leaves now has still started the run.
            standing = await asyncio.shield(run.begun)
        except LogFullError as error:
            raise CoreFullError from error
        except SessionBusyError as error:
            raise SessionHasRunError(error.run_id) from error
        return _same(standing, record)

    async def _standing(self, record: RunRecord) -> RunRecord | None:
        """Return the record of the run that stands for a request already; None where there is none."""
        if not record.request_key:
            return None
        for run in self._live.values():
            if run.record.request_key == record.request_key:
                with suppress(LogFullError, SessionBusyError):
                    return await asyncio.shield(run.begun)
        return await self._log.standing(record.request_key)

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
            self._elsewhere.join(run_id, owner)

        def left(follower: Follower) -> None:
            self._followers.discard(follower)
            if owner:
                self._elsewhere.leave(run_id, by_itself=not order.relay and not follower.finished)
            elif run is not None and not follower.finished:
                run.leave(relay=order.relay)

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
            tail = await self._log.tail(order.run_id, start[0], MAX_EVENTS, MAX_BYTES)
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
        self, owner: str, session_id: str, max_runs: int, before: tuple[int, str] | None
    ) -> list[RunInfo]:
        """Return a session's runs, newest first.

        Args:
            owner: The principal that asks.
            session_id: The session.
            max_runs: The most runs to return.
            before: Where the page before ended: a run's create_unix_nano and its id; None for the first page.
        """
        return await self._log.session_runs(owner, session_id, max_runs, before)

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
            with suppress(TimeoutError):
                await asyncio.wait_for(run.ended.wait(), CANCEL_ANSWER_S)
            return await self.info(run_id, owner), run.stopping
        if info.outcome is not None or not info.record.core:
            return info, False
        if await self._peers.tell(info.record.core, Word("cancel", run_id, self._peers.name)):
            await self._await_end(info)
        # Its core comes back and hears of it, or is gone and the run is closed as lost: it ends either way.
        return await self.info(run_id, owner), True

    async def _await_end(self, info: RunInfo) -> None:
        """Return when another core's run has ended, or a moment has passed."""
        try:
            tail = await self._log.tail(info.record.run_id, info.last, MAX_EVENTS, MAX_BYTES)
        except LogGoneError:
            return
        try:
            async with asyncio.timeout(CANCEL_ANSWER_S):
                while not (await tail.next()).complete:
                    pass
        except (TimeoutError, LogGoneError):
            return
        finally:
            await tail.aclose()

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
            await self._peers.tell(info.record.core, Word("left", run_id, self._peers.name))
        return info

    # What is heard of other cores.

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
            closing = asyncio.create_task(self._close_runs_of(core), name=f"close the runs of {core}")
            self._closing[core] = closing
            closing.add_done_callback(lambda _: self._closing.pop(core, None))

    async def _close_runs_of(self, core: str) -> None:
        """Write the end of each run of a lost core, and forget it. What fails is done another time."""
        try:
            lost = await reap_orphans(self._log, core)
            if lost:
                logger.warning("core %s is gone: %d of its runs were closed", core, lost)
            if not await self._log.open_runs(core):
                await self._peers.forget(core)
        except LogAwayError as error:
            logger.warning("the runs of core %s could not be closed: %s", core, error)

    async def lease_lost(self) -> None:
        """Find out which runs this core still writes, and tell others again who follows here."""
        unsure = tuple(self._live.values())
        while unsure:
            known = await asyncio.gather(*(run.check() for run in unsure))
            unsure = tuple(run for run, is_known in zip(unsure, known, strict=True) if not is_known)
            if unsure:
                await asyncio.sleep(CHECK_AGAIN_S)
        self._elsewhere.announce_all()

    def renewed(self) -> None:
        """Tell what could not be told, and close what nobody writes any more."""
        self.log_health.there(time.monotonic())
        self._elsewhere.announce_untold()
        if not self._renewals % TIDY_RENEWALS and OWN not in self._closing:
            tidying = asyncio.create_task(self._tidy(), name="close forgotten runs")
            self._closing[OWN] = tidying
            tidying.add_done_callback(lambda _: self._closing.pop(OWN, None))
        self._renewals += 1

    async def _tidy(self) -> None:
        """Close the runs that are this core's in the log, and that it does not know.

        A log that was set back to an earlier state has runs open again whose end it has lost.
        """
        try:
            infos = await self._log.open_runs(self._peers.name)
            for info in infos:
                if info.record.run_id not in self._live:
                    logger.warning("run %s was open again in the log", info.record.run_id)
                    await reap(self._log, info.record.run_id)
        except LogAwayError as error:
            logger.warning("the log could not be tidied: %s", error)

    def log_away(self) -> None:
        """Tell every follower that the log is away."""
        self.log_health.away(time.monotonic())
        self._renewals = 0  # Once it is back, see at once what was begun there and given up here.
        for follower in self._followers:
            follower.degrade()

    def _degrade(self, run_id: str) -> None:
        """Tell the followers of a run that the log is away."""
        for follower in self._followers:
            if follower.run_id == run_id:
                follower.degrade()
        if not self._peers.name and self._probing is None:
            # A lease would find out by itself.
            self._probing = asyncio.create_task(self._probe(), name="probe the log")

    async def _probe(self) -> None:
        """Try the log until it has been there again for a while."""
        self.log_health.away(time.monotonic())
        try:
            while not self.log_health.settled:
                await asyncio.sleep(PROBE_S)
                try:
                    await self._log.probe()
                except LogAwayError:
                    self.log_health.away(time.monotonic())
                else:
                    self.log_health.there(time.monotonic())
        finally:
            self._probing = None

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
        await self._wait_for_runs(drain_s, hurry)
        ends = [asyncio.ensure_future(run.ended.wait()) for run in self._live.values()]
        for run in self._live.values():
            run.stop(StopCause.SHUTDOWN)
        if ends:
            logger.warning("stopping %d runs that did not end in time", len(ends))
            await asyncio.wait(ends)
        await self._wait_for_strays()
        # What these do not close, the next core on the same log does.
        for task in (*self._reaping, *self._closing.values(), *filter(None, (self._probing,))):
            task.cancel()
        await self._elsewhere.aclose()

    async def _wait_for_runs(self, drain_s: float, hurry: asyncio.Event) -> None:
        """Return when no run is live, the time has passed, or there is a hurry."""

        async def all_ended() -> None:
            for run in tuple(self._live.values()):
                await run.ended.wait()

        waits = {asyncio.ensure_future(all_ended()), asyncio.ensure_future(hurry.wait())}
        try:
            await asyncio.wait(waits, timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _wait_for_strays(self) -> None:
        """Give agents that did not stop a last chance."""
        if self.strays:
            for stray in self.strays:
                stray.cancel()
            await asyncio.wait(tuple(self.strays), timeout=STRAY_S)
        if self.strays:
            logger.error("%d agents do not stop", len(self.strays))

    def _ended(self, run: Run, stray: asyncio.Task[None] | None) -> None:
        """Forget a live run. From here on the log alone knows it."""
        self._live.pop(run.record.run_id, None)
        self._limiter.end_run(run.record.owner, time.monotonic(), repeated=run.repeated)
        if run.lost:
            # Its followers wait for its end.
            reaping = asyncio.create_task(reap_when_possible(self._log, run.record.run_id))
            self._reaping.add(reaping)
            reaping.add_done_callback(self._reaping.discard)
        if stray is not None:
            self.strays.add(stray)
            stray.add_done_callback(self._stray_stopped)

    def _stray_stopped(self, stray: asyncio.Task[None]) -> None:
        """Forget an agent's task that came to an end after all."""
        self.strays.discard(stray)
        if not stray.cancelled() and stray.exception() is not None:
            logger.warning("%s raised after its run", stray.get_name(), exc_info=stray.exception())

    def _deadline(self, spec: RunSpec, call_deadline: float | None) -> float:
        """Return when a run must have ended: the soonest of what the spec, the call and the core say."""
        limit_s = self._times.run_timeout_s
        if spec.HasField("timeout"):
            limit_s = min(limit_s, spec.timeout.ToTimedelta().total_seconds())
        deadline = time.monotonic() + limit_s
        return deadline if call_deadline is None else min(deadline, call_deadline)

    async def _missing(self, run_id: str) -> Exception:
        """Return why a run is not in the log.

        Raises:
            LogAwayError: The log can't say.
        """
        if self._log.volatile and tag_of(run_id) != self._tag:
            return RunLostError()
        if not await self._peers.settled():
            return LogAwayError("it may have lost this run, and get it back")
        return UnknownRunError()


def _same(standing: RunRecord, record: RunRecord) -> str:
    """Return the id of the run that stands for a request.

    Raises:
        RequestIdReusedError: It was started by another request.
    """
    if standing.fingerprint != record.fingerprint:
        raise RequestIdReusedError(standing.run_id)
    return standing.run_id


def fingerprint(spec: RunSpec) -> bytes:
    """Return a hash of what a request asks for: equal requests have equal ones."""
    return hashlib.sha256(spec.SerializeToString(deterministic=True)).digest()
