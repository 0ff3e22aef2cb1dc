"""What a reader of a run's log gets at once. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from agent_core.log.position import FIRST_EPOCH, Position


class Batch(NamedTuple):
    """What a reader gets at once.

    All events are of the first epoch, but for one that a reaper wrote, which is the log's last.
    """

    first: int
    """The number of the first of these events; of the one to come, where there are none."""
    events: Sequence[bytes]
    """Whole encoded Events, numbered without holes from `first` on."""
    complete: bool
    """True when the log is closed and nothing comes after these events."""
    last: Position
    """The log's last event at that moment."""

    @property
    def end(self) -> Position:
        """The last of these events; the one before them, where there are none."""
        sequence = self.first + len(self.events) - 1
        return self.last if sequence == self.last.sequence else Position(FIRST_EPOCH, sequence)

    @property
    def begin(self) -> Position:
        """The first of these events; the one to come, where there are none."""
        return self.last if self.first == self.last.sequence else Position(FIRST_EPOCH, self.first)

    def split(self, max_events: int, max_bytes: int) -> tuple[Batch, Batch | None]:
        """Return the first of these events, one at least, and the others; None where there are none.

        Args:
            max_events: The most events of the first part; 1 or more.
            max_bytes: The most bytes of events of the first part.
        """
        head = fitting(self.events[:max_events], max_bytes)
        if len(head) == len(self.events):
            return self, None
        rest = self._replace(first=self.first + len(head), events=self.events[len(head) :])
        return self._replace(events=head, complete=False), rest


def fitting(events: Sequence[bytes], max_bytes: int) -> Sequence[bytes]:
    """Return the first of some events that are so many bytes together, one at least."""
    for count, size_bytes in enumerate(accumulate(map(len, events))):
        if size_bytes > max_bytes:
            return events[: max(1, count)]
    return events
