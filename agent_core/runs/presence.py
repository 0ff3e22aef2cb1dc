"""Who follows a run, and what becomes of it when its followers have left.

`Presence` is pure: it says what an arrival or a departure means. `RunFollowers` does it, with a timer.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Final

from tokenwire.v1.run_pb2 import ON_DISCONNECT_CANCEL, ON_DISCONNECT_CONTINUE, OnDisconnect

RETURN_S: Final = 2.0
"""How long a run waits at least for a follower that did not leave by itself, however short the grace time is:
one whose connection broke, or that has started the run and follows it next. gRPC connects again within 1 s
(`grpc.max_reconnect_backoff_ms`), and the follow takes another moment."""


class Verdict(enum.Enum):
    """What is to be done with the run."""

    NOTHING = "nothing"
    CANCEL = "cancel"
    """Cancel it now."""
    GRACE = "grace"
    """Cancel it unless it is followed again within the grace time: its last follower has left."""
    RETURN = "return"
    """The same, but wait `RETURN_S` at least: its follower has not left, and may be on its way."""

    def wait_s(self, grace_s: float) -> float:
        """Return how long to wait for a follower before the run is cancelled, in seconds.

        Args:
            grace_s: The grace time, in seconds.
        """
        return max(grace_s, RETURN_S) if self is Verdict.RETURN else grace_s


class Presence:
    """The followers of one run.

    A relay's call ends for many reasons, so its end alone never counts as leaving. That the one
    behind it has left is said apart (FOLLOWER_LEFT), before or after the call ends. Each such word
    is paired with one ended call, so that it is not taken for another follower's, whose link only broke.

    Args:
        policy: What the run's starter wants. Anything but CANCEL and CONTINUE is GRACE.
    """

    def __init__(self, policy: OnDisconnect.ValueType) -> None:
        self.following = 0
        """How many follow now."""
        self._policy = policy
        self._left_unended = 0
        """Followers who have left, and whose relays' calls have not ended yet."""
        self._ended_unsaid = 0
        """Relays' calls that ended, without word that their follower has left."""

    def join(self) -> None:
        """Count one more follower. What was said of those before does not concern the new one."""
        if not self.following:
            self._left_unended = self._ended_unsaid = 0
        self.following += 1

    def leave(self, *, relay: bool) -> Verdict:
        """Return what to do now that a follower's call has ended before the run did.

        Args:
            relay: The call relayed the events to a client.
        """
        self.following -= 1
        if not relay:
            return self._verdict(by_itself=True)
        if self._left_unended:
            self._left_unended -= 1
            return self._verdict(by_itself=True)
        self._ended_unsaid += 1
        return self._verdict(by_itself=False)

    def withdraw(self) -> Verdict:
        """Return what to do now that a follower that has joined can't be served: it has not left."""
        self.following -= 1
        return self._verdict(by_itself=False)

    def said_left(self) -> Verdict:
        """Return what to do on the word that a follower behind a relay has left by itself."""
        if self._ended_unsaid:
            self._ended_unsaid -= 1
        else:
            self._left_unended += 1
        return self._verdict(by_itself=True)

    def unfollowed(self) -> Verdict:
        """Return what to do with a run that has not been followed yet."""
        return self._verdict(by_itself=False)

    def _verdict(self, *, by_itself: bool) -> Verdict:
        """Return what the policy says, given how the last follower went."""
        if self.following or self._policy == ON_DISCONNECT_CONTINUE:
            return Verdict.NOTHING
        if not by_itself:
            return Verdict.RETURN
        return Verdict.CANCEL if self._policy == ON_DISCONNECT_CANCEL else Verdict.GRACE


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
            relay: The call relayed the events to a client.
        """
        self._apply(self._presence.leave(relay=relay))

    def withdraw(self) -> None:
        """Count one follower less, which could not be served."""
        self._apply(self._presence.withdraw())

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
            left_s = self._grace.when() - asyncio.get_running_loop().time()
            self._cancel_grace()
            self._left_s = max(0.0, left_s)

    def resume(self) -> None:
        """Let it go on."""
        self._paused = False
        left_s, self._left_s = self._left_s, None
        if left_s is not None:
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
