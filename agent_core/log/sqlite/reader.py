"""What the store `sqlite:PATH` reads from its file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent_core.log.batch import Batch, fitting
from agent_core.log.errors import LogGoneError
from agent_core.log.position import FIRST_EPOCH, START, Position
from agent_core.log.records import Exchange, Outcome, RunInfo, RunRecord
from agent_core.log.sqlite.chunks import chunk_bounds, read_chunks
from agent_core.log.sqlite.schema import connect
from tokenwire.v1.run_pb2 import OnDisconnect

RECORD: Final = (
    "run_id, session_id, agent, on_disconnect, create_unix_nano, owner, request_key, fingerprint, core"
)
"""The columns of a RunRecord."""

_INFO: Final = (
    f"SELECT {RECORD}, id, epoch, outcome, reason, end_unix_nano, expire_unix_nano FROM runs WHERE "  # noqa: S608 # our own words
)
_MESSAGE: Final = (
    "SELECT message FROM messages JOIN runs ON messages.run = runs.id "
    "WHERE run_id = ? AND (expire_unix_nano = 0 OR expire_unix_nano > ?)"
)


class LogReader:
    """Reads the file, on a connection of its own: it waits for no writer.

    Args:
        path: The file, which a LogWriter has prepared.
        unix_nano: The wall clock.
    """

    def __init__(self, path: Path, unix_nano: Callable[[], int]) -> None:
        self._db = connect(path)
        self._db.execute("PRAGMA query_only = ON")
        self._unix_nano = unix_nano

    def close_file(self) -> None:
        """Close the file."""
        self._db.close()

    def read(self, run_id: str, after: int, max_events: int, max_bytes: int) -> tuple[Batch, bool]:
        """Return what comes after a number, and whether the run has ended: else as far as it is in chunks.

        Raises:
            LogGoneError: The run is not known.
        """
        with self._snapshot():
            found = self._db.execute(
                "SELECT id, epoch, outcome, expire_unix_nano FROM runs WHERE run_id = ?", (run_id,)
            ).fetchone()
            if found is None or 0 < found[3] <= self._unix_nano():
                raise LogGoneError
            row, epoch, outcome, _ = found
            _, last = bounds(self._db, row, epoch)
            first, events, size_bytes = after + 1, list[bytes](), 0
            for here, chunk in read_chunks(self._db.execute, row, after):
                first = first if events else here
                events += chunk
                size_bytes += sum(map(len, chunk))
                if len(events) >= max_events or size_bytes > max_bytes:
                    break
        fit = fitting(events[:max_events], max_bytes)
        ended, at_end = outcome is not None, first + len(fit) > last.sequence
        return Batch(first, fit, ended and at_end, last), ended

    def infos(self, run_id: str) -> list[RunInfo]:
        """Return what is known of a run: nothing where it is not known."""
        with self._snapshot():
            return self._infos("run_id = ?", run_id)

    def standing(self, request_key: str) -> RunRecord | None:
        """Return the record that stands for a request."""
        with self._snapshot():
            found = self._infos("request_key = ?", request_key)
        return found[0].record if found else None

    def open_runs(self, core: str | None = None) -> list[RunInfo]:
        """Return the runs without a terminal event: all, or those of one core."""
        with self._snapshot():
            infos = self._infos("outcome IS NULL")
        return [info for info in infos if core in {None, info.record.core}]

    def messages(self, run_ids: Sequence[str]) -> list[str]:
        """Return what the user said in each of some runs."""
        with self._snapshot():
            return [self._message(run_id) for run_id in run_ids]

    def _message(self, run_id: str) -> str:
        """Return what the user said in a run."""
        found = self._db.execute(_MESSAGE, (run_id, self._unix_nano())).fetchone()
        return bytes(found[0]).decode() if found is not None else ""

    def session_runs(
        self,
        owner: str,
        session_id: str,
        max_runs: int,
        place: tuple[int, str] | None,
        oldest_first: bool,  # noqa: FBT001 # for `partial`
    ) -> list[RunInfo]:
        """Return a session's runs, newest first or oldest first."""
        where = (
            "session_id = ? AND session_id <> '' AND owner = ? "
            "AND (expire_unix_nano = 0 OR expire_unix_nano > ?)"
        )
        values: list[str | int] = [session_id, owner, self._unix_nano()]
        if place is not None:
            where += f" AND (create_unix_nano, run_id) {'>' if oldest_first else '<'} (?, ?)"
            values += place
        way = "" if oldest_first else " DESC"
        order = f" ORDER BY create_unix_nano{way}, run_id{way} LIMIT ?"
        with self._snapshot():
            return self._infos(where + order, *values, max_runs)

    def history(self, owner: str, session_id: str) -> list[Exchange]:
        """Return what a session remembers, oldest first."""
        rows = self._db.execute(
            "SELECT question, answer FROM sessions JOIN exchanges ON session = sessions.id "
            "WHERE owner = ? AND session_id = ? AND expire_unix_nano > ? ORDER BY exchanges.id",
            (owner, session_id, self._unix_nano()),
        ).fetchall()
        return list(map(Exchange._make, rows))

    def _infos(self, where: str, *values: str | int) -> list[RunInfo]:
        """Return what is known of some runs, without the expired ones."""
        rows = self._db.execute(_INFO + where, values).fetchall()
        now = self._unix_nano()
        infos = []
        for *record, row, epoch, outcome, reason, end, expire in rows:
            if not 0 < expire <= now:
                first, last = bounds(self._db, row, epoch)
                ended = Outcome(outcome, reason) if outcome is not None else None
                infos.append(RunInfo(record_of(record), first, last, ended, end, expire))
        return infos

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Let several reads see the same state of the file."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")


def bounds(db: sqlite3.Connection, row: int, epoch: int) -> tuple[Position, Position]:
    """Return a run's first and last event: of an open run, as far as they are in chunks.

    Args:
        db: A connection.
        row: The run's row.
        epoch: The last event's.
    """
    first, last = chunk_bounds(db.execute, row)
    if not last:
        return Position(FIRST_EPOCH, 1), START
    # All events are of the first epoch, but for one that a reaper wrote.
    return Position(epoch if first == last else FIRST_EPOCH, first), Position(epoch, last)


def record_of(row: Sequence[object]) -> RunRecord:
    """Return a record from its columns."""
    run_id, session_id, agent, on_disconnect, create_unix_nano, owner, key, fingerprint, core = row[:9]
    return RunRecord(
        run_id=str(run_id),
        session_id=str(session_id),
        agent=str(agent),
        on_disconnect=OnDisconnect.ValueType(int(str(on_disconnect))),
        create_unix_nano=int(str(create_unix_nano)),
        owner=str(owner),
        request_key=str(key or ""),
        fingerprint=bytes(fingerprint) if isinstance(fingerprint, bytes) else b"",
        core=str(core),
    )
