"""The table `chunks`: the events of each run, some hundred in a row."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from agent_core.log.sqlite.packing import DamagedError, pack_events, unpack_events
from agent_core.log.sqlite.transaction import Transaction

CHUNK_BYTES: Final = 64 * 1024
"""What a row holds, about: the more, the fewer rows a long run has; the more is read for one event."""

CHUNKS_AT_ONCE: Final = 32
"""The most rows of one statement."""

_INSERT: Final = "INSERT INTO chunks (run, first, count, size_bytes, events) VALUES (?, ?, ?, ?, ?)"
_FIRST: Final = "SELECT first FROM chunks WHERE run = ? ORDER BY first LIMIT 1"
_LAST: Final = "SELECT first + count - 1 FROM chunks WHERE run = ? ORDER BY first DESC LIMIT 1"
_SIZES: Final = "SELECT first, count, size_bytes FROM chunks WHERE run = ? ORDER BY first"
_ONE: Final = "SELECT events FROM chunks WHERE run = ? AND first = ?"
_FROM: Final = (
    "SELECT first, events FROM chunks WHERE run = ?1 "
    "AND first >= coalesce((SELECT max(first) FROM chunks WHERE run = ?1 AND first <= ?2), 0) ORDER BY first"
)


Read: TypeAlias = Callable[[str, Sequence[int]], sqlite3.Cursor]
"""Asks the file: `execute` of a connection, or `read` of a transaction."""


class Chunk(NamedTuple):
    """Events that are written as one row."""

    run: int
    """The run's row."""
    first: int
    """The number of the first of them."""
    events: Sequence[bytes]
    size_bytes: int
    """Of the events."""


class Dropped(NamedTuple):
    """What became of a run whose oldest events were dropped."""

    first: int
    """The first event that is left."""
    size_bytes: int
    """Of those that are left."""


def write_chunks(transaction: Transaction, chunks: Sequence[Chunk]) -> None:
    """Write some rows, with one statement."""
    values: list[object] = []
    for run, first, events, size_bytes in chunks:
        values += (run, first, len(events), size_bytes, pack_events(events))
        transaction.written_bytes += size_bytes
    transaction.execute(_INSERT + ", (?, ?, ?, ?, ?)" * (len(chunks) - 1), values)


def chunk_bounds(read: Read, run: int) -> tuple[int, int]:
    """Return the numbers of the first and the last event of a run that are in chunks: (1, 0) for none."""
    first = read(_FIRST, (run,)).fetchone()
    if first is None:
        return 1, 0
    (last,) = read(_LAST, (run,)).fetchone()
    return first[0], last


def read_chunks(read: Read, run: int, after: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the events of a run that come after a number, chunk by chunk, each with its first number.

    Raises:
        DamagedError: They are not what was written.
    """
    rows = read(_FROM, (run, after + 1))
    expected = 0
    for first, chunk in rows:
        if expected not in {0, first}:
            raise DamagedError(f"a run's events before number {first} are missing")
        events = unpack_events(chunk)
        expected = first + len(events)
        passed = max(0, after + 1 - first)
        if passed < len(events):
            yield first + passed, events[passed:]


def drop_oldest(transaction: Transaction, run: int, max_events: int, max_bytes: int) -> Dropped:
    """Drop a run's oldest events until the others fit; never the last.

    Args:
        transaction: What is written.
        run: The run's row: all of its events are in chunks.
        max_events: How many may be left, 1 or more.
        max_bytes: How many bytes may be left.
    """
    chunks = transaction.read(_SIZES, (run,)).fetchall()
    last = chunks[-1][0] + chunks[-1][1] - 1
    least, left_bytes = last - max_events + 1, sum(size_bytes for _, _, size_bytes in chunks)
    for first, count, size_bytes in chunks:
        after = first + count
        if after <= least or (after <= last and left_bytes - size_bytes > max_bytes):
            left_bytes -= size_bytes  # Without reading it.
            continue
        (chunk,) = transaction.read(_ONE, (run, first)).fetchone()
        events = unpack_events(chunk)
        here = first
        while here < min(after, last) and (here < least or left_bytes > max_bytes):
            left_bytes -= len(events[here - first])
            here += 1
        if here < after:
            _cut(transaction, run, first, events, here - first)
            return Dropped(here, left_bytes)
    raise AssertionError("the last event of a run is never dropped")


def _cut(transaction: Transaction, run: int, first: int, events: Sequence[bytes], dropped: int) -> None:
    """Drop the chunks before one, and the oldest events of that one."""
    transaction.execute("DELETE FROM chunks WHERE run = ? AND first < ?", (run, first + min(dropped, 1)))
    if dropped:
        left = events[dropped:]
        write_chunks(transaction, [Chunk(run, first + dropped, left, sum(map(len, left)))])
