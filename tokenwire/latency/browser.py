"""The last hop: from the socket to the page, as the page reports it afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from tokenwire.latency.clock_bounds import ClockBounds, Offset
from tokenwire.latency.series import Stall


class Received(NamedTuple):
    """Consecutive events that a page has received."""

    first: int
    """The sequence of the first one."""
    unix_nano: Sequence[int]
    """When each was received, in nanoseconds of Unix time by the page's clock."""


class BrowserLeg(NamedTuple):
    """What a report says, beside what the edge knows."""

    offset: Offset | None
    """How far our clock is ahead of the page's; None where the edge has no stamps of its own to compare."""
    waits_nano: Sequence[int]
    """How long each event took from the socket to the page. Empty where the clocks do not tell: each time may
    be wrong by the offset's error, which is long when the report was long on its way."""
    stalls: Sequence[Stall]
    """Gaps at the page that the last hop is to blame for, in Unix time by our clock."""


def browser_leg(
    received: Sequence[Received],
    written: Mapping[int, tuple[int, int]],
    *,
    sent_unix_nano: int,
    came_unix_nano: int,
    stall_nano: int,
) -> BrowserLeg:
    """Return what a page's report says of the last hop.

    Args:
        received: When the page received events.
        written: When the edge had them and when the socket took them, by their sequences, in nanoseconds of
            Unix time by our clock.
        sent_unix_nano: When the page sent its report, by its clock.
        came_unix_nano: When that came, by ours.
        stall_nano: The longest gap that is no stall; and the largest error that times may have. With a larger
            one an event that came at once would count as a stall.
    """
    pairs = [
        (part.first + i, *written[part.first + i], nano)
        for part in received
        for i, nano in enumerate(part.unix_nano)
        if part.first + i in written
    ]
    if not pairs:
        return BrowserLeg(None, (), ())
    bounds = ClockBounds()
    for _, had, _, theirs in pairs:
        # The socket's stamp is taken after it took the event: a page on this machine may have it before.
        bounds.answered(had, theirs)
    bounds.received(sent_unix_nano, came_unix_nano)
    offset = bounds.offset(came_unix_nano)
    if offset is None:
        return BrowserLeg(None, (), ())
    placed = [(sequence, ours, theirs + offset.nano) for sequence, _, ours, theirs in pairs]
    told = placed if offset.error_nano <= stall_nano else []
    # The gaps are differences of the page's own times: what offset these have does not matter.
    return BrowserLeg(offset, [theirs - ours for _, ours, theirs in told], _stalls(placed, stall_nano))


def _stalls(placed: Sequence[tuple[int, int, int]], stall_nano: int) -> list[Stall]:
    """Return the gaps that are longer at the page than allowed, and grew most on the way there."""
    stalls = []
    for (_, before_ours, before_theirs), (sequence, ours, theirs) in pairwise(placed):
        gap, grown = theirs - before_theirs, (theirs - ours) - (before_theirs - before_ours)
        if gap > stall_nano and grown > gap - grown:
            behind = sum(1 for other, write, _ in placed if other > sequence and write <= theirs)
            stalls.append(Stall("browser", sequence, ours, theirs, gap, behind))
    return stalls
