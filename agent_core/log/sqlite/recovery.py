"""What a core that was killed has left in the journal, moved into chunks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from agent_core.log.sqlite.chunks import CHUNK_BYTES, Chunk, chunk_bounds, write_chunks
from agent_core.log.sqlite.packing import DamagedError, unpack_turn
from agent_core.log.sqlite.transaction import Transaction

_ROWS: Final = "SELECT id, checksum, turn FROM journal ORDER BY id"

logger = logging.getLogger(__name__)


class _Tail:
    """The events of one run that are in no chunk yet.

    Args:
        row: The run's row.
        last: The number of the last event that is in a chunk.
    """

    def __init__(self, row: int, last: int) -> None:
        self._row = row
        self._last = last
        self._events: list[bytes] = []
        self._size_bytes = 0
        self.lacks = False
        """True when an event is missing before others."""

    def take(self, first: int, events: list[bytes]) -> None:
        """Take what follows. What is there already is passed over, and what comes after a hole."""
        passed = self._last + 1 - first
        if passed < 0:
            self.lacks = True
            return
        new = events[passed:]
        self._events += new
        self._last += len(new)
        self._size_bytes += sum(map(len, new))

    def move(self, transaction: Transaction, least_bytes: int) -> None:
        """Write a chunk, where it has so many bytes."""
        if self._events and self._size_bytes >= least_bytes:
            first = self._last + 1 - len(self._events)
            write_chunks(transaction, [Chunk(self._row, first, self._events, self._size_bytes)])
            self._events, self._size_bytes = [], 0


def recover(transaction: Transaction) -> None:
    """Empty the journal: in one transaction, so that a process that is killed meanwhile begins again.

    Of a run that lacks an event nothing is taken that comes after: no reader gets a log with a hole.
    """
    if transaction.read("SELECT id FROM journal LIMIT 1").fetchone() is None:
        return
    opened = transaction.read("SELECT id FROM runs WHERE outcome IS NULL").fetchall()
    tails = {row: _Tail(row, chunk_bounds(transaction.read, row)[1]) for (row,) in opened}
    with transaction.together():
        for row, first, events in _pieces(transaction):
            tail = tails.get(row)
            if tail is not None:  # Else it was forgotten, or has ended and is in chunks.
                tail.take(first, events)
                tail.move(transaction, CHUNK_BYTES)
        for tail in tails.values():
            tail.move(transaction, 0)
        transaction.execute("DELETE FROM journal")
    lacking = sum(tail.lacks for tail in tails.values())
    if lacking:
        logger.warning("%d runs lack events that were logged: they end before these", lacking)


def _pieces(transaction: Transaction) -> Iterator[tuple[int, int, list[bytes]]]:
    """Yield what is in the journal: the row of a run, the first number, and the events."""
    for turn_id, checksum, turn in transaction.read(_ROWS):
        try:
            yield from unpack_turn(turn, checksum)
        except DamagedError as error:
            logger.warning("turn %d of the log is lost: %s", turn_id, error)
