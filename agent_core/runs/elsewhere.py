"""Runs of other cores that are followed here: their owners are told how many follow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass

from agent_core.log.contract import LogAwayError
from agent_core.log.peers import Peers, Word, WordKind

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Followed:
    """One run of another core."""

    owner: str
    followers: int = 0


class Elsewhere:
    """Tells other cores who follows their runs here.

    A number is told, never a change: a word that was lost is made good by the next one.

    Args:
        peers: The other cores.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._followed: dict[str, _Followed] = {}
        self._untold: dict[str, str] = {}
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
        followed = self._followed.setdefault(run_id, _Followed(owner))
        followed.followers += 1
        self._announce(run_id, owner)

    def leave(self, run_id: str, *, by_itself: bool) -> None:
        """Count one follower less.

        Args:
            run_id: The run.
            by_itself: It has left, rather than lost its connection.
        """
        followed = self._followed[run_id]
        followed.followers -= 1
        if not followed.followers:
            del self._followed[run_id]
        if by_itself:
            self._spawn(self._tell(followed.owner, run_id, "left"))
        self._announce(run_id, followed.owner)

    def announce_all(self) -> None:
        """Tell all owners again: they may have lost what they knew."""
        for run_id, followed in self._followed.items():
            self._announce(run_id, followed.owner)

    def announce_untold(self) -> None:
        """Tell what could not be told before."""
        untold, self._untold = self._untold, {}
        for run_id, owner in untold.items():
            self._announce(run_id, owner)

    async def aclose(self) -> None:
        """Stop telling."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _announce(self, run_id: str, owner: str) -> None:
        """Tell an owner how many follow now."""
        self._spawn(self._tell(owner, run_id, "following"))

    async def _tell(self, owner: str, run_id: str, kind: WordKind) -> None:
        """Tell an owner something; how many follow is told later where it can't be now."""
        followed = self._followed.get(run_id)
        word = Word(kind, run_id, self._peers.name, followed.followers if followed is not None else 0)
        try:
            await self._peers.tell(owner, word)
        except LogAwayError as error:
            logger.debug("core %s was not told who follows run %s: %s", owner, run_id, error)
            self._untold[run_id] = owner

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Let something be told, in the order in which it happened."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
