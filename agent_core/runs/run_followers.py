"""The followers of one live run: those at this core, and those at others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent_core.runs.presence import Presence, Verdict
from tokenwire.v1.run_pb2 import OnDisconnect


def _nothing() -> None:
    """Do nothing."""


class RunFollowers:
    """Counts followers, and stops the run as its on_disconnect says when they have left.

    Args:
        on_disconnect: What its starter wants.
        grace_s: How long the run goes on without followers, where on_disconnect is grace.
        stop: Called, perhaps more than once, when the run is to be cancelled.
    """

    def __init__(
        self, on_disconnect: OnDisconnect.ValueType, grace_s: float, stop: Callable[[], None]
    ) -> None:
        self.elsewhere: dict[str, int] = {}
        """How many follow at each other core, which relays the events to them."""
        self._presence = Presence(on_disconnect)
        self._grace_s = grace_s
        self._stop = stop
        self._grace: asyncio.TimerHandle | None = None
        self._paused = False
        self._left_s: float | None = None
        """What was left of the grace time when it was paused; None where none had begun."""
        self._closed = False

    def join(self) -> None:
        """Count one more follower."""
        self._presence.join()
        self._cancel_grace()

    def leave(self, *, relay: bool) -> None:
        """Count one follower less: its call has ended before the run.

        Args:
            relay: The call passed the events on to somebody else.
        """
        self._apply(self._presence.leave(relay=relay))

    def left_by_itself(self) -> None:
        """Take note that a follower behind a relay has left by itself. Its call ends before or after that."""
        self._apply(self._presence.said_left())

    def set_elsewhere(self, core: str, followers: int) -> None:
        """Take note of how many follow at another core now."""
        before = self.elsewhere.pop(core, 0)
        if followers:
            self.elsewhere[core] = followers
        for _ in range(before, followers):
            self.join()
        for _ in range(followers, before):
            self.leave(relay=True)

    def begin(self) -> None:
        """Start the grace time of a run that may never be followed."""
        self._apply(self._presence.unfollowed())

    def pause(self) -> None:
        """Let the grace time stand still: the run waits for a person, who need not follow it meanwhile."""
        self._paused = True
        if self._grace is not None:
            self._left_s = max(0.0, self._grace.when() - asyncio.get_running_loop().time())
            self._grace.cancel()
            self._grace = None

    def resume(self) -> None:
        """Let it go on."""
        self._paused = False
        left_s, self._left_s = self._left_s, None
        if left_s is not None and not self._closed:
            self._stop_in(left_s)

    def close(self) -> None:
        """Stop the timer: the run has ended. Let go of it, too: both would be garbage in a cycle."""
        self._closed = True
        self._stop = _nothing
        self._cancel_grace()

    def _apply(self, verdict: Verdict) -> None:
        if self._closed:
            return
        if verdict is Verdict.CANCEL:
            self._stop()
        elif verdict is not Verdict.NOTHING:
            self._stop_in(verdict.wait_s(self._grace_s))

    def _stop_in(self, wait_s: float) -> None:
        """Stop the run unless a follower comes within a time; a stop that is due sooner stands."""
        loop = asyncio.get_running_loop()
        if self._paused:
            self._left_s = wait_s if self._left_s is None else min(self._left_s, wait_s)
        elif self._grace is None or loop.time() + wait_s < self._grace.when():
            self._cancel_grace()
            self._grace = loop.call_later(wait_s, self._stop)

    def _cancel_grace(self) -> None:
        self._left_s = None
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
