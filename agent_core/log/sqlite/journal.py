"""The table `journal`: what all runs have said in one turn is one row.

Rows are for a start after a crash alone: what is in no chunk yet is in the writer's memory, too. A row that
holds nothing else than what is in chunks is deleted, with others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Final

from agent_core.log.sqlite.packing import Piece, pack_turn
from agent_core.log.sqlite.runs import WrittenRun
from agent_core.log.sqlite.transaction import Transaction

JOURNAL_BYTES: Final = 16 * 1024 * 1024
"""What the journal may hold: so much is read at a start after a crash. Beyond it the runs whose events are in
its oldest rows get a chunk early."""

FREE_ROWS: Final = 256
"""How many rows must have become free before they are deleted together."""

# An id that is in the file already is that of a row whose commit had failed, as far as SQLite could say.
_INSERT: Final = "INSERT OR REPLACE INTO journal (id, checksum, turn) VALUES (?, ?, ?)"
_DELETE: Final = "DELETE FROM journal WHERE id < ?"


class Journal:
    """Writes rows, and knows which of them are needed still.

    Args:
        transaction: What is written.
        journal_bytes: What the journal may hold.
    """

    def __init__(self, transaction: Transaction, journal_bytes: int = JOURNAL_BYTES) -> None:
        self._transaction = transaction
        self._journal_bytes = journal_bytes
        self._sizes: deque[int] = deque()
        """Of the rows that are there."""
        self._size_bytes = 0
        self._first = 1
        """The id of the first of them; the others follow without holes."""
        self._needed: dict[WrittenRun, int] = {}
        """By run, the row that has the first event of its tail: in the order of the rows."""
        self._aged = 0
        """Runs that need a row before this one get a chunk."""
        self._age_mark = 0

    @property
    def next_id(self) -> int:
        """The id of the next row."""
        return self._first + len(self._sizes)

    @property
    def overdue(self) -> bool:
        """Whether rows are to be deleted, or made free for it."""
        oldest = self._oldest()
        return (
            oldest - self._first >= FREE_ROWS
            or self._size_bytes > self._journal_bytes
            or oldest < self._aged
            or self._first < self._aged
        )

    def add(self, pieces: list[Piece]) -> None:
        """Write a row."""
        turn, checksum = pack_turn(pieces)
        self._transaction.execute_alone(_INSERT, (self.next_id, checksum, turn))
        self._sizes.append(len(turn))
        self._size_bytes += len(turn)
        self._transaction.on_undo(self._take_back)
        self._transaction.written_bytes += len(turn)

    def need(self, state: WrittenRun) -> None:
        """Keep the next row, and all after it, until a run's tail is in a chunk: unless an earlier one is."""
        if state not in self._needed:
            self._needed[state] = self.next_id
            self._transaction.on_undo(self._needed.pop, state, None)

    def release(self, state: WrittenRun) -> None:
        """Keep nothing any more for a run."""
        needed = self._needed.pop(state, None)
        if needed is not None:
            self._transaction.on_undo(self._need_again, state, needed)

    def age(self) -> None:
        """Let a tail that was there the last time, too, be moved into a chunk."""
        self._aged, self._age_mark = self._age_mark, self.next_id

    def holding(self) -> Iterator[WrittenRun]:
        """Yield the runs whose tails keep rows from being deleted that are too old or too much."""
        limit = max(self._aged, self._limit())
        return takewhile(lambda state: self._needed[state] < limit, self._needed)

    def delete_free(self) -> Callable[[], None]:
        """Delete the rows that are needed no more. Return what is to be called once that is committed."""
        oldest = self._oldest()
        self._transaction.execute(_DELETE, (oldest,))

        def deleted() -> None:
            while self._first < oldest:
                self._size_bytes -= self._sizes.popleft()
                self._first += 1

        return deleted

    def _oldest(self) -> int:
        """Return the id of the first row that is needed; of the next one where none is."""
        return next(iter(self._needed.values()), self.next_id)

    def _limit(self) -> int:
        """Return the id of the first row that there is room for, a quarter below the most."""
        excess = self._size_bytes - self._journal_bytes
        if excess <= 0:
            return 0
        excess += self._journal_bytes // 4
        for row, size_bytes in enumerate(self._sizes, self._first):
            if excess <= 0:
                return row
            excess -= size_bytes
        return self.next_id

    def _take_back(self) -> None:
        """Forget the last row."""
        self._size_bytes -= self._sizes.pop()

    def _need_again(self, state: WrittenRun, row: int) -> None:
        """Keep a row for a run, as before: in the order of the rows."""
        needed = {**self._needed, state: row}
        self._needed = dict(sorted(needed.items(), key=lambda item: item[1]))
