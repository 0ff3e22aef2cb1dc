"""Who follows a run, and what becomes of it when nobody does any more. Pure."""

from __future__ import annotations

import enum

from tokenwire.v1.run_pb2 import ON_DISCONNECT_CANCEL, ON_DISCONNECT_CONTINUE, OnDisconnect


class Verdict(enum.Enum):
    """What is to be done with the run."""

    NOTHING = "nothing"
    CANCEL = "cancel"
    """Cancel it now."""
    GRACE = "grace"
    """Cancel it unless somebody follows it again within the grace time."""


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
        if by_itself and self._policy == ON_DISCONNECT_CANCEL:
            return Verdict.CANCEL
        return Verdict.GRACE
