"""How far a run has been read: order, duplicates and gaps. Pure: nothing is sent or waited for here."""

from __future__ import annotations

import enum

from tokenwire.cursor import START, Cursor, EventId


class Verdict(enum.Enum):
    """What to do with an event."""

    FRESH = "fresh"
    """Yield it."""
    KNOWN = "known"
    """It was yielded before: skip it."""
    MISSING = "missing"
    """Events before it did not come: follow again."""


class Progress:
    """The position of a reader in a run.

    Args:
        run_id: The run; empty until it is known.
        after: The last event that the reader has; None for none.
        is_dense: Whether every event of the run comes. An edge leaves out those that it does not know: their
            sequences are skipped, and following again would not bring them.
    """

    def __init__(self, run_id: str, after: Cursor | None, *, is_dense: bool) -> None:
        self.run_id = run_id
        self._is_dense = is_dense
        self._cursor = after or START
        self._read = after or START
        """The last event that was yielded. After a resync the cursor may be before it."""

    @property
    def cursor(self) -> Cursor | None:
        """Where to follow; None for the start of the run."""
        return None if self._cursor == START else self._cursor

    @property
    def after(self) -> str:
        """The id of the event to follow after; empty for the start of the run."""
        return str(EventId(self.run_id, self._cursor)) if self.run_id and self._cursor != START else ""

    def take(self, position: Cursor, merged_from: int | None = None) -> Verdict:
        """Return what to do with an event, and move on if it comes next.

        Args:
            position: The event's position; of a merged event, that of its last part.
            merged_from: The sequence of a merged event's first part; None if it is not merged.
        """
        if position <= self._cursor:
            return Verdict.KNOWN
        if not self._is_next(position.sequence if merged_from is None else merged_from, position):
            return Verdict.MISSING
        self._cursor = position
        if position <= self._read:
            return Verdict.KNOWN  # after a resync, the log is sent from its start: this much was read
        self._read = position
        return Verdict.FRESH

    def resync(self, first: Cursor) -> bool:
        """Continue with the first event that the log still has; return whether events are missing.

        Args:
            first: The position of that event.
        """
        self._cursor = Cursor(first.epoch, first.sequence - 1) if first.sequence > 1 else START
        return self._cursor.sequence > self._read.sequence

    def _is_next(self, first: int, last: Cursor) -> bool:
        """Return whether an event comes next. One that begins with known text can't be cut: it does not.

        Args:
            first: The sequence at which it begins.
            last: Where it ends.
        """
        if first <= self._read.sequence < last.sequence and self._cursor < self._read:
            self._cursor = self._read
            return False
        if self._is_dense and first > self._cursor.sequence + 1:
            return False
        return not first <= self._cursor.sequence < last.sequence
