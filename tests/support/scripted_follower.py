"""A follower whose log is a list: for what reads followers, without a run and without a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from agent_core.log.contract import Batch, Position, fitting
from agent_core.runs.follower import NOT_HERE, FollowItem, NotHere

RUN_ID = "k7q2" + "a" * 26


class ScriptedFollower:
    """Gives what it is told to have, within the limits it is asked with.

    Args:
        events: What is there at first.
    """

    def __init__(self, events: Sequence[bytes] = ()) -> None:
        self.run_id = RUN_ID
        self.finished = False
        self.client_left = False
        self.closed = 0
        """How often it was closed."""
        self.polled: list[tuple[int, int]] = []
        """The limits of each poll."""
        self.controls: list[FollowItem] = []
        """What comes before the next events."""
        self.failure: Exception | None = None
        """What the next poll raises."""
        self.is_away = False
        """Whether the log has to be read."""
        self._events = list(events)
        self._complete = False
        self._given = 0
        self._callback: Callable[[], None] | None = None

    def add(self, *events: bytes, complete: bool = False) -> None:
        """Have more events, and say so."""
        self._events += events
        self._complete = complete
        self.say()

    def say(self) -> None:
        """Call who wants to be told."""
        if self._callback is not None:
            self._callback()

    def notify(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback

    def poll(self, max_events: int, max_bytes: int) -> FollowItem | Literal[NotHere.NOT_HERE] | None:
        self.polled.append((max_events, max_bytes))
        if self.failure is not None:
            raise self.failure
        if self.is_away:
            return NOT_HERE
        return self._next(max_events, max_bytes)

    async def next(self, max_events: int, max_bytes: int) -> FollowItem | None:
        self.is_away = False
        return self._next(max_events, max_bytes)

    async def aclose(self) -> None:
        self.closed += 1
        self._callback = None

    def _next(self, max_events: int, max_bytes: int) -> FollowItem | None:
        if self.controls:
            return self.controls.pop(0)
        first = self._given + 1
        events = fitting(self._events[self._given : self._given + max_events], max_bytes)
        self._given += len(events)
        self.finished = self._complete and self._given == len(self._events)
        if not events:
            return None
        return Batch(first, events, self.finished, Position(1, len(self._events)))
