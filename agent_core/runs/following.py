"""Those who follow runs at this core: its own runs, and those of other cores."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial

from agent_core.errors import UnknownRunError
from agent_core.log.contract import LogAwayError, LogGoneError, Position, RunInfo, RunLog
from agent_core.log.peers import PeerMessage, PeerMessageKind, Peers
from agent_core.runs.follower import MAX_BYTES, MAX_EVENTS, Follower, FollowRequest, OpenTail, start_of
from agent_core.runs.registry import RunRegistry
from agent_core.runs.run import Run

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


class Followers:
    """Opens followers, and tells them what concerns them all.

    Args:
        log: The store.
        registry: The runs.
        peers: The other cores.
    """

    def __init__(self, log: RunLog, registry: RunRegistry, peers: Peers) -> None:
        self.remote = RemoteFollowers(peers)
        """Counts those who follow runs of other cores."""
        self._log = log
        self._registry = registry
        self._open_followers: set[Follower] = set()
        self._draining = False

    def __len__(self) -> int:
        return len(self._open_followers)

    async def follow(self, request: FollowRequest) -> Follower:
        """Return a follower of a run. Close it.

        Args:
            request: What is asked for.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's.
            RunLostError: It was lost with its core.
        """
        run = self._registry.live(request.run_id)
        if run is not None and run.record.owner != request.owner:
            raise UnknownRunError
        if run is not None:
            run.followers.join()
        try:
            opened = await self._open(request, request.after)
        except BaseException:
            if run is not None:
                run.followers.leave(relay=request.relay)
            raise
        follower = self._follower(request, opened, run)
        self._open_followers.add(follower)
        if self._draining:
            follower.drain()
        return follower

    def degrade(self, run_id: str | None = None) -> None:
        """Tell the followers of a run that the log is away; of None, all."""
        for follower in self._open_followers:
            if run_id is None or follower.run_id == run_id:
                follower.degrade()

    def drain(self) -> None:
        """Tell all followers, and those to come, that the core is going down."""
        self._draining = True
        for follower in self._open_followers:
            follower.drain()

    def _follower(self, request: FollowRequest, opened: OpenTail, run: Run | None) -> Follower:
        """Return the follower of a run that is live here, live at another core, or has ended."""
        info = opened.info
        owner = info.record.core if run is None and info.outcome is None else ""
        if owner:
            self.remote.join(request.run_id, owner)

        def left(follower: Follower) -> None:
            self._open_followers.discard(follower)
            if owner:
                # A caller whose stream this core ends, since it goes down, has not left by itself.
                by_itself = follower.client_left or not (request.relay or self._draining)
                self.remote.leave(request.run_id, by_itself=by_itself and not follower.finished)
            elif run is not None and not follower.finished:
                run.followers.leave(relay=request.relay and not follower.client_left)

        return Follower(
            opened,
            reopen=partial(self._open, request),
            say_caught_up=request.say_caught_up,
            on_close=left,
        )

    async def _open(self, request: FollowRequest, after: Position) -> OpenTail:
        """Return the log of a run, opened after a position.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's.
            RunLostError: It was lost with its core.
        """
        info = await self._registry.info(request.run_id, request.owner)
        start = start_of(info, after)
        try:
            tail = await self._log.tail(request.run_id, start[0], MAX_EVENTS, request.max_bytes)
        except LogGoneError as error:
            raise await self._registry.why_missing(request.run_id) from error
        return OpenTail(tail, info, start)


async def ended_elsewhere(log: RunLog, info: RunInfo, within_s: float) -> None:
    """Return when another core's run has ended, was forgotten, can't be read, or the time has passed.

    Args:
        log: The store.
        info: The run as it was.
        within_s: How long to wait.
    """
    with suppress(TimeoutError, LogGoneError, LogAwayError):
        async with asyncio.timeout(within_s):
            tail = await log.tail(info.record.run_id, info.last, MAX_EVENTS, MAX_BYTES)
            async with aclosing(tail):
                while not (await tail.next()).complete:
                    pass
