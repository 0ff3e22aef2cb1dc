"""The events of open runs, on their way from the journal into chunks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from agent_core.log.sqlite.chunks import CHUNKS_AT_ONCE, Chunk, Dropped, drop_oldest, write_chunks
from agent_core.log.sqlite.journal import Journal
from agent_core.log.sqlite.packing import Piece
from agent_core.log.sqlite.runs import WrittenRun
from agent_core.log.sqlite.transaction import Transaction


class Tails:
    """Writes events: first into the journal, then into chunks, where no more than so many are in memory.

    Args:
        transaction: What is written.
        journal: Where each turn is a row.
        tail_bytes: The most that is kept of one run in the journal alone.
    """

    def __init__(self, transaction: Transaction, journal: Journal, tail_bytes: int) -> None:
        self._transaction = transaction
        self._journal = journal
        self._tail_bytes = tail_bytes
        self._new: dict[WrittenRun, int] = {}
        """How many events of each run are in its tail since the last commit."""

    def add(self, state: WrittenRun, events: Sequence[bytes], size_bytes: int) -> None:
        """Take events that follow on a run's last one."""
        self._transaction.on_undo(state.saved())
        state.tail += events
        state.tail_bytes += size_bytes
        state.last += len(events)
        state.size_bytes += size_bytes
        self._new[state] = self._new.get(state, 0) + len(events)

    def move(self, states: Sequence[WrittenRun]) -> None:
        """Write the tails of some runs as chunks, one each."""
        long = [state for state in states if state.tail]
        for begin in range(0, len(long), CHUNKS_AT_ONCE):
            some = long[begin : begin + CHUNKS_AT_ONCE]
            write_chunks(self._transaction, [_chunk(state) for state in some])
        for state in long:
            self._transaction.on_undo(state.saved())
            state.tail, state.tail_bytes = [], 0
            self._journal.release(state)

    def drop_oldest(self, state: WrittenRun, max_events: int, max_bytes: int) -> Dropped:
        """Drop a run's oldest events until the others fit; never the last.

        What was dropped does not come back after a crash: the chunks say where the log begins.
        """
        self.move([state])
        self._transaction.on_undo(state.saved())
        dropped = drop_oldest(self._transaction, state.row, max_events, max_bytes)
        state.first, state.size_bytes = dropped
        return dropped

    def forget(self, state: WrittenRun) -> None:
        """Write nothing more of a run."""
        self._new.pop(state, None)
        self._journal.release(state)

    def write_turn(self) -> None:
        """Write what is new as one row of the journal, and tails that are too long as chunks."""
        self.move([state for state in self._new if state.tail_bytes > self._tail_bytes])
        pieces: list[Piece] = []
        for state, count in self._new.items():
            tail = state.tail
            if tail:
                events = tail if len(tail) <= count else tail[-count:]
                self._journal.need(state)
                pieces.append((state.row, state.last + 1 - len(events), events))
        if pieces:
            self._journal.add(pieces)

    def forget_new(self) -> None:
        """Begin another turn."""
        self._new = {}

    def move_oldest(self) -> None:
        """Write some of the tails as chunks that keep rows of the journal from being deleted."""
        self.move(list(islice(self._journal.holding(), CHUNKS_AT_ONCE)))


def _chunk(state: WrittenRun) -> Chunk:
    """Return a run's tail as a chunk."""
    return Chunk(state.row, state.last + 1 - len(state.tail), state.tail, state.tail_bytes)
