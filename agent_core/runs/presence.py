"""Who follows a run, and what becomes of it when nobody does any more. Pure."""

from __future__ import annotations

import enum
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
    """Cancel it unless somebody follows it again within the grace time: its last follower has left."""
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
        """Relays' calls that ended, without word of anybody having left."""

    def join(self) -> None:
        """Count one more follower. What was said of those before does not concern the new one."""
        if not self.following:
            self._left_unended = self._ended_unsaid = 0
        self.following += 1

    def leave(self, *, relay: bool) -> Verdict:
        """Return what to do now that a follower's call has ended before the run did.

        Args:
            relay: The call passed the events on to somebody else.
        """
        self.following -= 1
        if not relay:
            return self._verdict(by_itself=True)
        if self._left_unended:
            self._left_unended -= 1
            return self._verdict(by_itself=True)
        self._ended_unsaid += 1
        return self._verdict(by_itself=False)

    def said_left(self) -> Verdict:
        """Return what to do on the word that a follower behind a relay has left by itself."""
        if self._ended_unsaid:
            self._ended_unsaid -= 1
        else:
            self._left_unended += 1
        return self._verdict(by_itself=True)

    def unfollowed(self) -> Verdict:
        """Return what to do with a run that nobody has followed yet."""
        return self._verdict(by_itself=False)

    def _verdict(self, *, by_itself: bool) -> Verdict:
        """Return what the policy says, given how the last follower went."""
        if self.following or self._policy == ON_DISCONNECT_CONTINUE:
            return Verdict.NOTHING
        if not by_itself:
            return Verdict.RETURN
        return Verdict.CANCEL if self._policy == ON_DISCONNECT_CANCEL else Verdict.GRACE
