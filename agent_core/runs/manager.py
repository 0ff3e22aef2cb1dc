"""The runs of this core: starts them, finds them, ends them all when the core goes down."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from contextlib import suppress
from typing import Final

from opentelemetry.context import Context

from agent_core.agents.catalogue import NamedAgent
from agent_core.errors import (
    CoreDrainingError,
    CoreFullError,
    RequestIdReusedError,
    RunLostError,
    UnknownRunError,
)
from agent_core.runs.follower import MAX_BYTES, MAX_EVENTS, Follower, FollowOrder, start_of
from agent_core.runs.log.contract import (
    LogFullError,
    LogGoneError,
    RunInfo,
    RunLog,
    RunRecord,
)
from agent_core.runs.orphans import reap_when_possible
from agent_core.runs.run import Run, RunOrder, RunTimes, StopCause
from agent_core.runs.run_id import RANDOM_BITS, TAG_BITS, make_run_id, make_tag, tag_of
from agent_core.runs.state import RunLimits
from tokenwire.v1.run_pb2 import OnDisconnect, RunSpec

CANCEL_ANSWER_S: Final = 0.25
"""How long a cancellation waits for the run's end, so that its answer can tell of it. An agent that
stops when told needs a millisecond; for others the answer is that the run is being cancelled."""

STRAY_S: Final = 1.0
"""How long the core waits, at its own end, for agents that did not stop when their runs ended."""

logger = logging.getLogger(__name__)


class RunManager:
    """The live runs, and the way to those that have ended.

    Args:
        log: The store.
        times: How long things may take.
        limits: How much one run may say.
    """

    def __init__(self, log: RunLog, times: RunTimes, limits: RunLimits | None = None) -> None:
        self.draining = False
        """True when the core is going down: no run is started any more."""
        self.strays: set[asyncio.Task[None]] = set()
        """Tasks of agents that did not stop though their runs have ended."""
        self._log = log
        self._times = times
        self._limits = limits or RunLimits()
        self._tag = make_tag(secrets.randbits(TAG_BITS))
        self._live: dict[str, Run] = {}
        self._followers: set[Follower] = set()
        self._reaping: set[asyncio.Task[None]] = set()

    @property
    def incarnation(self) -> str:
        """The first characters of the ids that this core mints."""
        return self._tag

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
        )
        order = RunOrder(record, spec, agent.agent, self._deadline(spec, deadline), parent, self._limits)
        run = Run(order, self._log, self._times, self._ended)
        self._live[record.run_id] = run
        try:
            # Shielded: a caller who leaves now has still started the run.
            standing = await asyncio.shield(run.begun)
        except LogFullError as error:
            raise CoreFullError from error
        if standing.fingerprint != record.fingerprint:
            raise RequestIdReusedError(standing.run_id)
        return standing.run_id

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

        def left(follower: Follower) -> None:
            self._followers.discard(follower)
            if run is not None and not follower.finished:
                run.leave(relay=order.relay)

        try:
            info = await self.info(run_id, order.owner)
            start = start_of(info, order.after)
            tail = await self._log.tail(run_id, start[0], MAX_EVENTS, MAX_BYTES)
        except BaseException as error:
            if run is not None:
                run.leave(relay=order.relay)
            if isinstance(error, LogGoneError):
                raise self._missing(run_id) from error
            raise
        follower = Follower(tail, info, start, say_caught_up=order.say_caught_up, on_close=left)
        self._followers.add(follower)
        if self.draining:
            follower.drain()
        return follower

    async def info(self, run_id: str, owner: str) -> RunInfo:
        """Return what is known of a run.

        Args:
            run_id: The run.
            owner: The principal that asks.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's: that is not told apart.
            RunLostError: It was lost with its core.
        """
        info = await self._log.info(run_id)
        if info is None:
            raise self._missing(run_id)
        if info.record.owner != owner:
            raise UnknownRunError
        return info

    def live(self, run_id: str) -> Run | None:
        """Return a run that has not ended; None when it has, or there is none."""
        return self._live.get(run_id)

    async def cancel(self, run_id: str) -> None:
        """Stop a run's agent, and wait a moment for the end. Does nothing when there is nothing to do."""
        run = self._live.get(run_id)
        if run is not None:
            run.stop(StopCause.CANCELLED)
            with suppress(TimeoutError):
                await asyncio.wait_for(run.ended.wait(), CANCEL_ANSWER_S)

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
        for reaping in self._reaping:
            reaping.cancel()  # What it did not close, the next core on the same log does.

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

    def _missing(self, run_id: str) -> UnknownRunError | RunLostError:
        """Return why a run is not in the log."""
        if self._log.volatile and tag_of(run_id) != self._tag:
            return RunLostError()
        return UnknownRunError()


def fingerprint(spec: RunSpec) -> bytes:
    """Return a hash of what a request asks for: equal requests have equal ones."""
    return hashlib.sha256(spec.SerializeToString(deterministic=True)).digest()
