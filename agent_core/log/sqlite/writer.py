"""What the store `sqlite:PATH` writes into its file: no thread and no loop here, `sqlite.py` has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from agent_core.log.budget import LogBudget, beyond_floor, ring_target
from agent_core.log.contract import FIRST_EPOCH, Appended, AppendStatus, Exchange, RunRecord
from agent_core.log.encoding import NANO, seal
from agent_core.log.outcome import Outcome
from agent_core.log.shares import Live, Shares
from agent_core.log.sqlite.reader import RECORD, bounds, record_of
from agent_core.log.sqlite.runs import Change, WrittenRun
from agent_core.log.sqlite.schema import FileLock, explained, prepared
from agent_core.log.sqlite.sessions import EXPIRED_AT_ONCE, SessionWriter

RUN_OVERHEAD_BYTES: Final = 1024
"""What a run costs in the file besides its events, about."""

_RECORD_BY_ID: Final = f"SELECT {RECORD} FROM runs WHERE run_id = ?"  # noqa: S608 # our own words
_RECORD_BY_KEY: Final = f"SELECT {RECORD}, expire_unix_nano FROM runs WHERE request_key = ?"  # noqa: S608 # our own words
_INSERT_RUN: Final = (
    f"INSERT INTO runs ({RECORD}, epoch, size_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"  # noqa: S608 # our own words
)
_INSERT_MESSAGE: Final = "INSERT INTO messages (run, message) VALUES (?, ?)"
_INSERT_EVENT: Final = "INSERT INTO events (run, epoch, sequence, event) VALUES (?, ?, ?, ?)"

_OK: Final = Appended(AppendStatus.OK)


class LogWriter:
    """Writes the file. Each method but the first three is a part of a transaction that the caller opens.

    Args:
        path: The file.
        budget: How much it keeps, and how long.
        reading: The runs that are read: they are not forgotten early.
        unix_nano: The wall clock.
        stamp: The monotonic clock that `logged_nano` is read from.

    Raises:
        LogOpenError: It can't be opened, is another core's, or another program's.
    """

    def __init__(
        self,
        path: Path,
        budget: LogBudget,
        reading: Container[str],
        unix_nano: Callable[[], int],
        stamp: Callable[[], int],
    ) -> None:
        self.changes: dict[str, Change] = {}
        """By run id, what the open transaction has done so far."""
        self._budget = budget
        self._reading = reading
        self._unix_nano = unix_nano
        self._stamp = stamp
        self._open: dict[str, WrittenRun] = {}
        self._shares = Shares(budget, self)
        self._lock = FileLock(path)
        try:
            with explained(path):
                self._db = prepared(path)
                self._sessions = SessionWriter(self._db, budget, self._shares)
                self._load()
        except BaseException:
            self._lock.close()
            raise

    def close_file(self) -> None:
        """Close the file, and let another core have it."""
        self._db.close()
        self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside; nothing of it when anything fails."""
        self.changes = {}
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # A full disk may have ended the transaction already.
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            with suppress(sqlite3.Error):
                self._load()
            raise

    def create(self, record: RunRecord) -> RunRecord:
        """Return the record that stands now.

        Args:
            record: The new run's.

        Raises:
            LogFullError: There is no room.
            PrincipalLogFullError: There is none for this owner.
            SessionBusyError: Another run of its session goes on.
        """
        known = self._db.execute(_RECORD_BY_ID, (record.run_id,)).fetchone()
        if known is not None:
            return record_of(known)
        self.sweep()
        if record.request_key:
            earlier = self._db.execute(_RECORD_BY_KEY, (record.request_key,)).fetchone()
            if earlier is not None:
                if not 0 < earlier[-1] <= self._unix_nano():
                    return record_of(earlier)
                self.delete(earlier[0])
        self._sessions.require_idle(record)
        account = self._shares.account_of(record.owner)
        message = record.message.encode()
        self._shares.admit(account, len(message))
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
        row = self._db.execute(_INSERT_RUN, values).lastrowid
        assert row is not None  # noqa: S101 # for the type checker
        if message:
            self._db.execute(_INSERT_MESSAGE, (row, message))
        self._open[record.run_id] = WrittenRun(
            record.run_id,
            account,
            row,
            FIRST_EPOCH,
            closed=False,
            first=1,
            last=0,
            size_bytes=0,
            message_bytes=len(message),
        )
        self._shares.held.add(account, RUN_OVERHEAD_BYTES + len(message))
        self._shares.keep(account)
        self._change(record.run_id).created = True
        return record

    def probe(self) -> None:
        """Write something that changes nothing: the version that the file has."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        self._db.execute(f"PRAGMA user_version = {version}")

    def append(self, run_id: str, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Return what became of an append."""
        return self._append(self._state(run_id), epoch, first, payloads)

    def close(  # noqa: PLR0913, PLR0917 # an append, and an end
        self,
        run_id: str,
        epoch: int,
        first: int,
        payloads: Sequence[bytes],
        outcome: Outcome,
        exchange: Exchange | None,
    ) -> Appended:
        """Return what became of the last append, with which the log is closed."""
        state = self._state(run_id)
        appended = self._append(state, epoch, first, payloads)
        if state is not None and appended.status is AppendStatus.OK and not state.closed:
            self._close(state, outcome)
            if exchange is not None:
                self._sessions.remember(state.row, exchange, self._unix_nano())
        return appended

    def reap(self, run_id: str, epoch: int, payload: bytes, outcome: Outcome) -> Appended:
        """Return what became of the terminal event of a run whose writer is gone."""
        state = self._state(run_id)
        if state is None:
            return Appended(AppendStatus.GONE)
        if state.epoch != epoch:
            return Appended(AppendStatus.FENCED)
        if state.closed:
            return Appended(AppendStatus.CLOSED)
        state.epoch += 1
        self._write(state, (payload,))
        self._close(state, outcome)
        return _OK

    def delete(self, run_id: str) -> None:
        """Forget a run."""
        found = self._db.execute(
            "SELECT id, size_bytes, owner, coalesce(length(message), 0) "
            "FROM runs LEFT JOIN messages ON messages.run = runs.id WHERE run_id = ?",
            (run_id,),
        ).fetchone()
        if found is None:
            return
        row, size, owner, message_bytes = found
        state = self._open.pop(run_id, None)
        self._db.execute("DELETE FROM events WHERE run = ?", (row,))
        self._db.execute("DELETE FROM messages WHERE run = ?", (row,))
        self._db.execute("DELETE FROM runs WHERE id = ?", (row,))
        freed = RUN_OVERHEAD_BYTES + message_bytes + (state.size_bytes if state is not None else size)
        self._shares.held.add(self._shares.account_of(owner), -freed)
        self._change(run_id).gone = True

    def sweep(self) -> None:
        """Forget some of what has expired."""
        expired = self._db.execute(
            "SELECT run_id FROM runs WHERE outcome IS NOT NULL AND expire_unix_nano <= ? "
            "ORDER BY expire_unix_nano LIMIT ?",
            (self._unix_nano(), EXPIRED_AT_ONCE),
        ).fetchall()
        for (run_id,) in expired:
            self.delete(run_id)
        self._sessions.sweep(self._unix_nano())

    def live(self, account: str) -> Live:
        """Return how many runs of an account go on, and what their messages need."""
        messages = [state.message_bytes for state in self._open.values() if state.account == account]
        return Live(len(messages), sum(map(beyond_floor, messages)))

    def drop_ended(self, account: str) -> bool:
        """Forget the oldest ended run that nobody reads: readers' streams would end without the end."""
        ended = self._ended(account, "end_unix_nano, id")
        oldest = next((run_id for run_id, _ in ended if run_id not in self._reading), None)
        ended.close()
        if oldest is None:
            return False
        self.delete(oldest)
        return True

    def drop_said(self, account: str) -> bool:
        """Forget what the session remembers that was used least lately."""
        return self._sessions.drop_oldest(account)

    def shorten(self, account: str, least_bytes: int) -> bool:
        """Drop the oldest quarter of the largest run's events: of one that goes on, else of an ended one."""
        opened = [
            state for state in self._open.values() if state.account == account and state.last > state.first
        ]
        largest = max(opened, key=lambda state: state.size_bytes, default=None)
        if largest is None or largest.size_bytes <= least_bytes:
            largest = self._largest_ended(account, least_bytes)
        if largest is None:
            return False
        held = largest.last - largest.first + 1
        self._trim(largest, held * 3 // 4, self._budget.run_bytes)
        return True

    def _ended(self, account: str, order: str) -> sqlite3.Cursor:
        """Return the ids and sizes of an account's ended runs."""
        where = "AND owner = ?" if self._budget.principal_bytes else ""
        return self._db.execute(
            f"SELECT run_id, size_bytes FROM runs WHERE outcome IS NOT NULL {where} ORDER BY {order}",  # noqa: S608 # our own words
            (account,) if where else (),
        )

    def _largest_ended(self, account: str, least_bytes: int) -> WrittenRun | None:
        """Return an account's largest ended run that can be shortened; None where there is none."""
        ended = self._ended(account, "size_bytes DESC")
        sizes = [run_id for run_id, size in ended if size > least_bytes]
        states = (self._state(run_id) for run_id in sizes)
        return next((state for state in states if state is not None and state.last > state.first), None)

    def _append(
        self, state: WrittenRun | None, epoch: int, first: int, payloads: Sequence[bytes]
    ) -> Appended:
        if state is None:
            return Appended(AppendStatus.GONE)
        if epoch != state.epoch:
            return Appended(AppendStatus.FENCED)
        known = state.last + 1 - first
        if known < 0:
            return Appended(AppendStatus.GAP, expected=state.last + 1)
        if known >= len(payloads):
            return _OK
        if state.closed:
            return Appended(AppendStatus.CLOSED)
        self._write(state, payloads[known:])
        return _OK

    def _write(self, state: WrittenRun, payloads: Sequence[bytes]) -> None:
        """Write events under the next numbers, and keep to the budget."""
        now = self._stamp()
        row, epoch, first = state.row, state.epoch, state.last + 1
        events = seal(payloads, epoch=epoch, first=first, logged_nano=now)
        self._db.executemany(
            _INSERT_EVENT, [(row, epoch, sequence, event) for sequence, event in enumerate(events, first)]
        )
        size = sum(map(len, events))
        state.last += len(events)
        state.size_bytes += size
        self._shares.held.add(state.account, size)
        change = self._change(state.run_id)
        change.events += events
        change.epoch = epoch
        budget = self._budget
        if state.size_bytes > budget.run_bytes or state.last - state.first >= budget.run_events:
            self._trim(state, ring_target(budget.run_events), ring_target(budget.run_bytes))
        self._shares.keep(state.account)

    def _trim(self, state: WrittenRun, max_events: int, max_bytes: int) -> None:
        """Drop a run's oldest events until the others fit; never the last."""
        held = self._db.execute(
            "SELECT sequence, length(event) FROM events WHERE run = ? ORDER BY sequence", (state.row,)
        )
        least = state.last - max(1, max_events) + 1
        dropped = 0
        for sequence, size in held:
            if sequence == state.last or (sequence >= least and state.size_bytes - dropped <= max_bytes):
                break
            dropped += size
            state.first = sequence + 1
        held.close()
        self._db.execute("DELETE FROM events WHERE run = ? AND sequence < ?", (state.row, state.first))
        state.size_bytes -= dropped
        self._shares.held.add(state.account, -dropped)
        if state.closed:
            self._db.execute("UPDATE runs SET size_bytes = ? WHERE id = ?", (state.size_bytes, state.row))
        else:
            self._change(state.run_id)

    def _close(self, state: WrittenRun, outcome: Outcome) -> None:
        """Close a log."""
        end = self._unix_nano()
        expire = end + int(self._budget.retention_s * NANO)
        self._db.execute(
            "UPDATE runs SET epoch = ?, size_bytes = ?, outcome = ?, reason = ?, end_unix_nano = ?, "
            "expire_unix_nano = ? WHERE id = ?",
            (state.epoch, state.size_bytes, *outcome, end, expire, state.row),
        )
        state.closed = True
        self._change(state.run_id).closed = True
        del self._open[state.run_id]

    def _change(self, run_id: str) -> Change:
        """Return what is noted of a run in this transaction, with its first event as it is now."""
        change = self.changes.setdefault(run_id, Change())
        state = self._open.get(run_id)
        if state is not None:
            change.first = state.first
        return change

    def _state(self, run_id: str) -> WrittenRun | None:
        """Return what there is of a run; None when it is not known, or has expired."""
        state = self._open.get(run_id)
        if state is not None:
            return state
        found = self._db.execute(
            "SELECT owner, id, epoch, size_bytes FROM runs WHERE run_id = ? AND expire_unix_nano > ?",
            (run_id, self._unix_nano()),
        ).fetchone()
        if found is None:
            return None
        owner, row, epoch, size = found
        first, last = bounds(self._db, row)
        account = self._shares.account_of(owner)
        return WrittenRun(run_id, account, row, epoch, True, first.sequence, last.sequence, size)

    def _load(self) -> None:
        """Read from the file what the writer has in mind of it."""
        self._open = {}
        self._shares.clear()
        self._sessions.load()
        counted = self._db.execute(
            "SELECT owner, count(*), coalesce(sum(size_bytes) FILTER (WHERE outcome IS NOT NULL), 0) "
            "+ coalesce(sum(length(message)), 0) "
            "FROM runs LEFT JOIN messages ON messages.run = runs.id GROUP BY owner"
        )
        for owner, runs, size in counted:
            self._shares.held.add(self._shares.account_of(owner), runs * RUN_OVERHEAD_BYTES + size)
        opened = self._db.execute(
            "SELECT id, run_id, epoch, owner, coalesce(length(message), 0) "
            "FROM runs LEFT JOIN messages ON messages.run = runs.id WHERE outcome IS NULL"
        ).fetchall()
        for row, run_id, epoch, owner, message_bytes in opened:
            first, last = bounds(self._db, row)
            (size,) = self._db.execute(
                "SELECT coalesce(sum(length(event)), 0) FROM events WHERE run = ?", (row,)
            ).fetchone()
            account = self._shares.account_of(owner)
            self._open[run_id] = WrittenRun(
                run_id, account, row, epoch, False, first.sequence, last.sequence, size, message_bytes
            )
            self._shares.held.add(account, size)
