"""What a core that was killed has left in the journal, moved into chunks."""

from __future__ import annotations

import logging
import sqlite3
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

    def take(self, first: int, events: list[bytes]) -> bool:
        """Take what follows; what is there already is passed over. Return False where something lacks."""
        passed = self._last + 1 - first
        if passed < 0:
            return False
        new = events[passed:]
        self._events += new
        self._last += len(new)
        self._size_bytes += sum(map(len, new))
        return True

    def move(self, transaction: Transaction, least_bytes: int) -> None:
        """Write a chunk, where it has so many bytes."""
        if self._events and self._size_bytes >= least_bytes:
            first = self._last + 1 - len(self._events)
            write_chunks(transaction, [Chunk(self._row, first, self._events, self._size_bytes)])
            self._events, self._size_bytes = [], 0


def recover(db: sqlite3.Connection) -> None:
    """Empty the journal: in one transaction, so that a process that is killed meanwhile begins again.

    Of a run that lacks an event nothing is taken that comes after: no reader gets a log with a hole.
    """
    transaction = Transaction(db)
    opened = db.execute("SELECT id FROM runs WHERE outcome IS NULL").fetchall()
    tails = {row: _Tail(row, chunk_bounds(db, row)[1]) for (row,) in opened}
    damaged: set[int] = set()
    for turn_id, checksum, turn in db.execute(_ROWS):
        try:
            pieces = unpack_turn(turn, checksum)
        except DamagedError as error:
            logger.warning("turn %d of the log is lost: %s", turn_id, error)
            continue
        for row, first, events in pieces:
            tail = tails.get(row)
            if tail is None:
                continue  # Forgotten, or ended: then it has its chunks.
            if tail.take(first, events):
                tail.move(transaction, CHUNK_BYTES)
            else:
                damaged.add(row)
    for tail in tails.values():
        tail.move(transaction, 0)
    if damaged:
        logger.warning("%d runs lack events that were logged: they end before these", len(damaged))
    transaction.execute("DELETE FROM journal")
    transaction.commit()
