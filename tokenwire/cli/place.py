"""How far a run has been shown. Pure: nothing is sent, printed or waited for here."""

from __future__ import annotations

import enum
from typing import NamedTuple

from tokenwire.cli.doors import Received


class Verdict(enum.Enum):
    """What is to be done with what came."""

    FRESH = "fresh"
    """Show it."""
    KNOWN = "known"
    """It was shown before: pass over it."""
    MISSING = "missing"
    """What lies before it did not come: follow again."""


class Position(NamedTuple):
    """A position in a run's log. Compares as (epoch, sequence)."""

    epoch: int
    sequence: int


START = Position(1, 0)
"""Before the first event."""


class Place:
    """Where the reader of a run stands.

    Args:
        is_dense: Every event of the run comes. An edge leaves out those that it does not know: their numbers
            are missing, and following again would not bring them.
    """

    def __init__(self, *, is_dense: bool) -> None:
        self.after = ""
        """The id of the last event that came in its turn: what to follow after. Empty for the first."""
        self._is_dense = is_dense
        self._cursor = START
        self._shown = START
        self._shown_id = ""

    def take(self, item: Received) -> Verdict:
        """Return what is to be done with an event, and move on when it is in its turn.

        An error without an id is the edge's own, and no part of the run.
        """
        position = position_of(item.id)
        if position is None:
            return Verdict.FRESH
        if position <= self._cursor:
            return Verdict.KNOWN
        merged_from = item.fields.get("from")
        if not self._is_in_turn(merged_from if isinstance(merged_from, int) else position.sequence, position):
            return Verdict.MISSING
        self._cursor, self.after = position, item.id
        if position <= self._shown:
            return Verdict.KNOWN  # the log begins anew after a resync: this much of it was shown
        self._shown, self._shown_id = position, item.id
        return Verdict.FRESH

    def _is_in_turn(self, first: int, last: Position) -> bool:
        """Return whether an event comes next: one that begins with known text can't be cut.

        Args:
            first: The sequence at which it begins.
            last: Where it ends.
        """
        if first <= self._shown.sequence < last.sequence and self._cursor < self._shown:
            self._cursor, self.after = self._shown, self._shown_id
            return False
        if self._is_dense and first > self._cursor.sequence + 1:
            return False
        return not first <= self._cursor.sequence < last.sequence

    def resync(self, first_id: str) -> None:
        """Heed that the stream goes on elsewhere: with the first event that the log holds.

        Args:
            first_id: That event's id.
        """
        first = position_of(first_id)
        self._cursor, self.after = START, ""
        if first is not None and first.sequence > 1:
            self._cursor = Position(first.epoch, first.sequence - 1)
            run_id = first_id.rsplit(".", 2)[0]
            self.after = f"{run_id}.{self._cursor.epoch}.{self._cursor.sequence}"


def position_of(event_id: str) -> Position | None:
    """Return the position that an id, `runId.epoch.sequence`, names; None when it names none."""
    _, _, numbers = event_id.partition(".")
    epoch, _, sequence = numbers.partition(".")
    return Position(int(epoch), int(sequence)) if epoch.isdecimal() and sequence.isdecimal() else None
