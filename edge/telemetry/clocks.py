"""What this process knows of the clocks of cores on other machines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from opentelemetry.util.types import AttributeValue

from edge.wire.stamps import EdgeClock
from tokenwire.latency.clock_bounds import ClockBounds, Offset
from tokenwire.telemetry import attributes, monotonic_nano
from tokenwire.telemetry.clock import clock_id, clock_tag

MICRO: Final = 1_000


class ClockBook:
    """How far this machine's wall clock is ahead of those of other machines, by the ids of their clocks."""

    def __init__(self) -> None:
        self._bounds: dict[int, ClockBounds] = {}

    def received(self, clock: int, sent_there: int, received_here: int) -> Offset | None:
        """Learn from a message, and return what is known.

        Args:
            clock: Names the sender's clock.
            sent_there: When it was sent, by that one's wall clock, in nanoseconds of the Unix time.
            received_here: When it came, by ours.
        """
        bounds = self._bounds.setdefault(clock, ClockBounds())
        bounds.received(sent_there, received_here)
        return bounds.offset(received_here)

    def answered(self, clock: int, sent_here: int, answered_there: int) -> None:
        """Learn from a question of ours that was answered.

        Args:
            clock: Names the clock of who answered.
            sent_here: When it was asked, by our wall clock, in nanoseconds of the Unix time.
            answered_there: When it was answered, by theirs.
        """
        if clock != clock_id():
            self._bounds.setdefault(clock, ClockBounds()).answered(sent_here, answered_there)


def own_clock() -> EdgeClock:
    """Return this process's clock, with the wall clock as it goes now."""
    return EdgeClock(clock_id(), clock_tag(), time.time_ns() - monotonic_nano())


def clock_attributes(offset: Offset | None) -> Mapping[str, AttributeValue]:
    """Return what spans say of the clock of a core on another machine.

    Args:
        offset: How far ours is ahead of it; None where that is not known.
    """
    if offset is None:
        return {attributes.CLOCK_METHOD: "none"}
    return {
        attributes.CLOCK_OFFSET_US: round(offset.nano / MICRO),
        attributes.CLOCK_ERROR_US: -(-offset.error_nano // MICRO),
        attributes.CLOCK_METHOD: "bounds",
    }
