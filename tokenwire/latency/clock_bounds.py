"""How far two machines' wall clocks are apart, as far as messages between them prove it.

A message can't arrive before it was sent. So each answer gives a bound on one side, and each request one on
the other; the truth lies between the tightest of both. Nothing is assumed of how long messages take.

Source: https://www.rfc-editor.org/rfc/rfc5905#section-10 (an offset's error is at most half the round trip)
"""

from __future__ import annotations

from typing import Final, NamedTuple

DRIFT_PPM: Final = 50
"""How fast two clocks may drift apart: quartz is within that, and NTP slews by less in the long run."""


class Offset(NamedTuple):
    """How far one clock is ahead of another."""

    nano: int
    """The middle of what is possible, in nanoseconds."""
    error_nano: int
    """The truth is at most this far from it."""


class ClockBounds:
    """What is known of how far our wall clock is ahead of another machine's.

    All times are in nanoseconds of Unix time, each by the clock of the machine that took it.
    """

    def __init__(self) -> None:
        self._upper: tuple[int, int] | None = None  # the bound, and when it was found by our clock
        self._lower: tuple[int, int] | None = None

    def received(self, sent_there: int, received_here: int) -> None:
        """Learn from a message of theirs.

        Args:
            sent_there: When it was sent.
            received_here: When it came.
        """
        bound, before = received_here - sent_there, self._upper
        if before is None or bound <= before[0] + _drift(received_here - before[1]):
            self._upper = bound, received_here

    def answered(self, sent_here: int, answered_there: int) -> None:
        """Learn from a message of ours.

        Args:
            sent_here: When it was sent.
            answered_there: A time at which it had come: when it was answered, at the latest.
        """
        bound, before = sent_here - answered_there, self._lower
        if before is None or bound >= before[0] - _drift(sent_here - before[1]):
            self._lower = bound, sent_here

    def offset(self, now: int) -> Offset | None:
        """Return how far our clock is ahead; None until there was a message each way.

        Args:
            now: By our clock: old bounds are less sure.
        """
        if self._upper is None or self._lower is None:
            return None
        upper = self._upper[0] + _drift(now - self._upper[1])
        lower = self._lower[0] - _drift(now - self._lower[1])
        if upper < lower:
            # A clock was set. What is known is forgotten: the next messages tell anew.
            self._upper = self._lower = None
            return None
        return Offset((upper + lower) // 2, (upper - lower + 1) // 2)


class ClockBook:
    """How far our wall clock is ahead of those of other machines, by the ids of their clocks.

    Args:
        own: The id of our own clock: of that there is nothing to learn.
    """

    def __init__(self, own: int) -> None:
        self._own = own
        self._bounds: dict[int, ClockBounds] = {}

    def received(self, clock: int, sent_there: int, received_here: int) -> Offset | None:
        """Learn from a message, and return what is known.

        Args:
            clock: Names the sender's clock.
            sent_there: When it was sent, in nanoseconds of Unix time by that one's wall clock.
            received_here: When it came, by ours.
        """
        bounds = self._bounds.setdefault(clock, ClockBounds())
        bounds.received(sent_there, received_here)
        return bounds.offset(received_here)

    def exchanged(self, clock: int, sent_here: int, answered_there: int, received_here: int) -> None:
        """Learn from a question of ours that was answered.

        Args:
            clock: Names the clock of who answered; 0 where it is not told.
            sent_here: When we asked, in nanoseconds of Unix time by our wall clock.
            answered_there: When it was answered, by theirs.
            received_here: When the answer came, by ours.
        """
        if clock and clock != self._own:
            bounds = self._bounds.setdefault(clock, ClockBounds())
            bounds.answered(sent_here, answered_there)
            bounds.received(answered_there, received_here)


def _drift(age_nano: int) -> int:
    return max(0, age_nano) * DRIFT_PPM // 1_000_000
