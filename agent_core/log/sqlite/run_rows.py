"""The table `runs`, and the messages beside it: what is asked and written of it, as statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

from agent_core.log.position import FIRST_EPOCH
from agent_core.log.records import Outcome, RunRecord
from agent_core.log.sqlite.chunks import chunk_bounds
from agent_core.log.sqlite.reader import RECORD, record_of
from agent_core.log.sqlite.runs import WrittenRun
from agent_core.log.sqlite.transaction import Transaction

_BY_ID: Final = f"SELECT {RECORD} FROM runs WHERE run_id = ?"  # noqa: S608 # our own words
_BY_KEY: Final = f"SELECT {RECORD}, expire_unix_nano FROM runs WHERE request_key = ?"  # noqa: S608 # our own words
_INSERT: Final = (
    f"INSERT INTO runs (id, {RECORD}, epoch, size_bytes) "  # noqa: S608 # our own words
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
)
_HELD: Final = (
    "SELECT owner, count(*), coalesce(sum(size_bytes) FILTER (WHERE outcome IS NOT NULL), 0) "
    "+ coalesce(sum(length(message)), 0) "
    "FROM runs LEFT JOIN messages ON messages.run = runs.id GROUP BY owner"
)
_OPEN: Final = (
    "SELECT run_id, owner, runs.id, epoch, coalesce(length(message), 0), "
    "(SELECT coalesce(sum(size_bytes), 0) FROM chunks WHERE chunks.run = runs.id) "
    "FROM runs LEFT JOIN messages ON messages.run = runs.id WHERE outcome IS NULL"
)
_WHOLE: Final = (
    "SELECT id, owner, size_bytes, coalesce(length(message), 0) "
    "FROM runs LEFT JOIN messages ON messages.run = runs.id WHERE run_id = ?"
)
_CLOSE: Final = (
    "UPDATE runs SET epoch = ?, size_bytes = ?, outcome = ?, reason = ?, end_unix_nano = ?, "
    "expire_unix_nano = ? WHERE id = ?"
)


class HeldRun(NamedTuple):
    """What a run takes."""

    row: int
    owner: str
    size_bytes: int
    """Of its events: right where it has ended."""
    message_bytes: int


class RunRows:
    """Asks and writes the rows of runs.

    Args:
        transaction: What is written.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._last: int = transaction.read("SELECT coalesce(max(id), 0) FROM runs").fetchone()[0]

    def record(self, run_id: str) -> RunRecord | None:
        """Return a run's record."""
        found = self._transaction.read(_BY_ID, (run_id,)).fetchone()
        return record_of(found) if found is not None else None

    def standing(self, request_key: str) -> tuple[RunRecord, int] | None:
        """Return the record of the run that a request started, and when it expires: 0 while it is open."""
        found = self._transaction.read(_BY_KEY, (request_key,)).fetchone()
        return (record_of(found), found[-1]) if found is not None else None

    def add(self, record: RunRecord, message: bytes) -> int:
        """Write a new run. Return its row: one that no run had before, since the journal may know that."""
        self._last += 1
        values = (
            record.run_id,
            record.session_id,
            record.agent,
            record.on_disconnect,
            record.create_unix_nano,
            record.owner,
            record.request_key or None,
            record.fingerprint,
            record.core,
            FIRST_EPOCH,
        )
        self._transaction.execute(_INSERT, (self._last, *values))
        if message:
            insert = "INSERT INTO messages (run, message) VALUES (?, ?)"
            self._transaction.execute(insert, (self._last, message))
        return self._last

    def close(self, state: WrittenRun, outcome: Outcome, end_unix_nano: int, expire_unix_nano: int) -> None:
        """Write the end of a run."""
        values = (state.epoch, state.size_bytes, *outcome, end_unix_nano, expire_unix_nano, state.row)
        self._transaction.execute(_CLOSE, values)

    def resize(self, state: WrittenRun) -> None:
        """Write how much is left of a run that has ended."""
        update = "UPDATE runs SET size_bytes = ? WHERE id = ?"
        self._transaction.execute(update, (state.size_bytes, state.row))

    def delete(self, row: int) -> None:
        """Delete a run with all that is of it."""
        self._transaction.execute("DELETE FROM chunks WHERE run = ?", (row,))
        self._transaction.execute("DELETE FROM messages WHERE run = ?", (row,))
        self._transaction.execute("DELETE FROM runs WHERE id = ?", (row,))

    def whole(self, run_id: str) -> HeldRun | None:
        """Return what a run takes."""
        found = self._transaction.read(_WHOLE, (run_id,)).fetchone()
        return HeldRun._make(found) if found is not None else None

    def expired(self, unix_nano: int, limit: int) -> list[tuple[str, int]]:
        """Return the ids and sizes of runs that have expired, those first that did first."""
        return self._transaction.read(
            "SELECT run_id, size_bytes FROM runs WHERE outcome IS NOT NULL AND expire_unix_nano <= ? "
            "ORDER BY expire_unix_nano LIMIT ?",
            (unix_nano, limit),
        ).fetchall()

    def ended(self, owner: str | None, order: str) -> sqlite3.Cursor:
        """Return the ids and sizes of an owner's ended runs; of all of them, where it is None."""
        where = "AND owner = ?" if owner is not None else ""
        query = f"SELECT run_id, size_bytes FROM runs WHERE outcome IS NOT NULL {where} ORDER BY {order}"  # noqa: S608 # our own words
        return self._transaction.read(query, (owner,) if where else ())

    def ended_run(self, run_id: str, unix_nano: int) -> tuple[str, WrittenRun] | None:
        """Return the owner of a run that has ended, and what there is of it; None where it has expired."""
        found = self._transaction.read(
            "SELECT owner, id, epoch, size_bytes FROM runs WHERE run_id = ? AND expire_unix_nano > ?",
            (run_id, unix_nano),
        ).fetchone()
        if found is None:
            return None
        owner, row, epoch, size = found
        first, last = chunk_bounds(self._transaction.read, row)
        return owner, WrittenRun(run_id, "", row, epoch, True, first, last, size)

    def open_runs(self) -> Iterator[tuple[str, WrittenRun]]:
        """Yield each open run with its owner."""
        for run_id, owner, row, epoch, message_bytes, size in self._transaction.read(_OPEN).fetchall():
            first, last = chunk_bounds(self._transaction.read, row)
            yield owner, WrittenRun(run_id, "", row, epoch, False, first, last, size, message_bytes)

    def held(self) -> Iterator[tuple[str, int, int]]:
        """Yield each owner, the number of runs, and the bytes of their messages and of ended ones' events."""
        yield from self._transaction.read(_HELD)
