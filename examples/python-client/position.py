"""How far a run has been read: what to show, what to pass over, when to follow again. Pure."""

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
        """The last event that came in its turn: what to follow after."""
        self.shown = BEFORE
        """The last event that was shown."""
        self.outcome = ""
        """The terminal event, `done` or `error`; empty before."""

    def take(self, event: Event) -> bool:
        """Move on to an event; return whether it is to be shown.

        Raises:
            StreamBrokeError: Events before it did not come.
        """
        at = place_of(event)
        if at <= self.cursor:
            return False
        if at.sequence > self.cursor.sequence + 1:
            raise StreamBrokeError(f"event {at.sequence} came after event {self.cursor.sequence}")
        self.cursor = at
        if at <= self.shown:
            return False  # the log begins anew after a resync: this much of it was shown
        self.shown = at
        payload = event.WhichOneof("payload")
        self.outcome = payload if payload in {"done", "error"} else ""
        return True

    def resync(self, first: Cursor) -> None:
        """Heed that the stream goes on with the first event that the log holds."""
        self.cursor = Place(first.epoch or 1, first.sequence - 1) if first.sequence > 1 else BEFORE

    def conclude(self, run: Run) -> None:
        """Heed what GetRun tells of a run whose stream brought nothing: it is over if we have the last."""
        if run.state == RUN_STATE_ENDED and place_of(run.last) <= self.cursor:
            self.outcome = run.outcome.event
