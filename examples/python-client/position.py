"""How far a run has been read: what to show, what to skip, when to follow again. Pure."""

from __future__ import annotations

from typing import NamedTuple

from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import RUN_STATE_ENDED, Cursor, Run


class Place(NamedTuple):
    """The place of an event in its run. Places compare as the contract says: by epoch, then by sequence."""

    epoch: int
    sequence: int


BEFORE = Place(0, 0)
"""Where nothing was read."""


class StreamBrokeError(Exception):
    """A stream ended, or skipped events, before its run ended: follow it again."""


def place_of(at: Event | Cursor) -> Place:
    """Return the place of an event, or that which a cursor names; BEFORE for a cursor that names none."""
    return Place(at.epoch or 1, at.sequence) if at.sequence else BEFORE


class Position:
    """How far a run has been read.

    Args:
        run_id: The run; empty before a core has named it.
        after: The last event that the reader has.
    """

    def __init__(self, run_id: str = "", after: Place = BEFORE) -> None:
        self.run_id = run_id
        self.cursor = after
        """The last event received in order: the cursor to follow after."""
        self.shown = BEFORE
        """The last event that was shown."""
        self.outcome = ""
        """The terminal event, `done` or `error`; empty before."""

    def take(self, event: Event) -> bool:
        """Move on to an event; return whether it is to be shown.

        Raises:
            StreamBrokeError: Events before it are missing.
        """
        at = place_of(event)
        if at <= self.cursor:
            return False
        if at.sequence > self.cursor.sequence + 1:
            raise StreamBrokeError(f"event {at.sequence} came after event {self.cursor.sequence}")
        self.cursor = at
        if at <= self.shown:
            return False  # sent again after a resync: it was shown before
        self.shown = at
        payload = event.WhichOneof("payload")
        self.outcome = payload if payload in {"done", "error"} else ""
        return True

    def resync(self, first: Cursor) -> None:
        """Handle a resync: the stream continues with the first event in the log."""
        self.cursor = Place(first.epoch or 1, first.sequence - 1) if first.sequence > 1 else BEFORE

    def conclude(self, run: Run) -> None:
        """Evaluate GetRun after a stream without events: the run is over if we have its last event."""
        if run.state == RUN_STATE_ENDED and place_of(run.last) <= self.cursor:
            self.outcome = run.outcome.event
