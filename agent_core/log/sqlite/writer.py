"""What the store `sqlite:PATH` writes into its file: no thread and no loop here, `log.py` has them.

A turn is one row of the journal, written by one statement, unless something else is written with it: a run's
creation, its end, a chunk of its events. What is in no chunk yet of an open run is its `tail`.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent_core.log.append import Append, Appended, AppendStatus, End
from agent_core.log.budget import LogBudget, beyond_floor, ring_target
from agent_core.log.encoding import NANO, seal
from agent_core.log.position import FIRST_EPOCH
from agent_core.log.records import Outcome, RunRecord
from agent_core.log.shares import Live, Shares
from agent_core.log.sqlite.checkpoints import checkpoint
from agent_core.log.sqlite.chunks import (
    CHUNK_BYTES,
)
from agent_core.log.sqlite.file_lock import FileLock
from agent_core.log.sqlite.journal import JOURNAL_BYTES, Journal
from agent_core.log.sqlite.recovery import recover
from agent_core.log.sqlite.run_rows import RunRows
from agent_core.log.sqlite.runs import Change, WrittenRun
from agent_core.log.sqlite.schema import explained, prepared
from agent_core.log.sqlite.sessions import EXPIRED_AT_ONCE, SessionWriter
from agent_core.log.sqlite.tails import Tails
from agent_core.log.sqlite.transaction import NotAloneError, Transaction

RUN_OVERHEAD_BYTES: Final = 1024
"""What a run costs in the file besides its events, about."""

EXPIRED_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
"""How much of expired runs one sweep deletes, about: it is overwritten with zeros."""

_OK: Final = Appended(AppendStatus.OK)

logger = logging.getLogger(__name__)


class LogWriter:
    """Writes the file. `transaction` opens what most other methods are a part of.

    Args:
        path: The file.
        budget: How much it keeps, and how long.
        reading: The runs that are read: they are not forgotten early.
        unix_nano: The wall clock.
        stamp: The monotonic clock that `logged_nano` is read from.
        tail_bytes: How much of an open run may be in no chunk yet.
        journal_bytes: How much the journal may hold.

    Raises:
        LogOpenError: It can't be opened, is another core's, or another program's.
    """

    def __init__(  # noqa: PLR0913 # the file, what it keeps, two clocks, how it keeps it
        self,
        path: Path,
        budget: LogBudget,
        reading: Container[str],
        unix_nano: Callable[[], int],
        stamp: Callable[[], int],
        *,
        tail_bytes: int = CHUNK_BYTES,
        journal_bytes: int = JOURNAL_BYTES,
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
                self._transaction = Transaction(self._db)
                recover(self._transaction)
                self._rows = RunRows(self._transaction)
                self.journal = Journal(self._transaction, journal_bytes)
                """`tidy` is due where it is overdue."""
                self._tails = Tails(self._transaction, self.journal, tail_bytes)
                self._sessions = SessionWriter(self._transaction, budget, self._shares)
                self._load()
                # The event loop must not wait for another program's lock: `Transaction` does, elsewhere.
                self._db.execute("PRAGMA busy_timeout = 0")
        except BaseException:
            self._lock.close()
            raise

    def close_file(self) -> None:
        """Close the file, and let another core have it."""
        try:
            with self.transaction():
                self._tails.move(list(self._open.values()))
            self._delete_free()
        except sqlite3.Error as error:
            # The next one who opens the file finds them in the journal.
            logger.warning("events could not be moved out of the journal: %s", error)
        finally:
            self._db.close()
            self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside; nothing of it when anything fails."""
        self.changes = {}
        try:
            with self._transaction.together():
                yield
                self._tails.write_turn()
        finally:
            self._tails.forget_new()

    def write_turn(self, turn: Sequence[Append]) -> list[Appended]:
        """Return what became of a turn."""
        return list(map(self.write, turn))

    def write_alone(self, turn: Sequence[Append]) -> list[Appended] | None:
        """Return what became of a turn that needs one row of the journal and nothing else of the file.

        Returns:
            None where it needs more, or the file can't be written at once: then nothing was done.
        """
        self.changes = {}
        try:
            with self._transaction.alone():
                answers = self.write_turn(turn)
                self._tails.write_turn()
        except (NotAloneError, sqlite3.Error):
            return None
        finally:
            self._tails.forget_new()
        return answers

    def tidy(self) -> None:
        """Delete rows of the journal that are needed no more; make some free where there are too many."""
        with self.transaction():
            self._tails.move_oldest()
        self._delete_free()

    def finish_checkpoint(self) -> None:
        """Move what the write-ahead log holds into the file, and begin it anew where that was all."""
        if checkpoint(self._db):
            with self.transaction():
                self.probe()

    def take_written_bytes(self) -> int:
        """Return how much was written since the last time, about."""
        written, self._transaction.written_bytes = self._transaction.written_bytes, 0
        return written

    def create(self, record: RunRecord) -> RunRecord:
        """Return the record that stands now.

        Args:
            record: The new run's.

        Raises:
            LogFullError: There is no room.
            PrincipalLogFullError: There is none for this owner.
            SessionBusyError: Another run of its session goes on.
        """
        known = self._rows.record(record.run_id)
        if known is not None:
            return known
        self.sweep()
        earlier = self._rows.standing(record.request_key) if record.request_key else None
        if earlier is not None:
            standing, expire_unix_nano = earlier
            if not 0 < expire_unix_nano <= self._unix_nano():
                return standing
            self.delete(standing.run_id)
        self._sessions.require_idle(record)
        account = self._shares.account_of(record.owner)
        message = record.message.encode()
        self._shares.admit(account, len(message))
        row = self._rows.add(record, message)
        self._open[record.run_id] = WrittenRun(
            record.run_id, account, row, FIRST_EPOCH, message_bytes=len(message)
        )
        self._transaction.on_undo(self._open.pop, record.run_id)
        self._hold(account, RUN_OVERHEAD_BYTES + len(message))
        self._shares.keep(account)
        self._change(record.run_id).created = True
        return record

    def probe(self) -> None:
        """Write something that changes nothing: the version that the file has."""
        (version,) = self._transaction.read("PRAGMA user_version").fetchone()
        self._transaction.execute(f"PRAGMA user_version = {version}")

    def write(self, append: Append) -> Appended:
        """Return what became of an append."""
        run_id, epoch, first, payloads, end = append
        state = self._state(run_id)
        appended = self._append(state, epoch, first, payloads)
        if end is not None and state is not None and appended.status is AppendStatus.OK and not state.closed:
            self._close(state, end)
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
        self._transaction.on_undo(state.saved())
        state.epoch += 1
        self._write(state, (payload,))
        self._close(state, End(outcome))
        return _OK

    def delete(self, run_id: str) -> None:
        """Forget a run."""
        held = self._rows.whole(run_id)
        if held is None:
            return
        state, size_bytes = self._open.get(run_id), held.size_bytes
        if state is not None:
            size_bytes = state.size_bytes
            self._tails.forget(state)
            self._leave(state)
        self._rows.delete(held.row)
        account = self._shares.account_of(held.owner)
        self._hold(account, -(RUN_OVERHEAD_BYTES + held.message_bytes + size_bytes))
        self._change(run_id).gone = True

    def sweep(self) -> None:
        """Forget some of what has expired."""
        left_bytes = EXPIRED_BYTES_AT_ONCE
        for run_id, size_bytes in self._rows.expired(self._unix_nano(), EXPIRED_AT_ONCE):
            if left_bytes <= 0:
                break  # Appends wait meanwhile.
            left_bytes -= size_bytes
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
        return self._rows.ended(account if self._budget.principal_bytes else None, order)

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
        events = seal(payloads, epoch=state.epoch, first=state.last + 1, logged_nano=self._stamp())
        size = len(events[0]) if len(events) == 1 else sum(map(len, events))
        self._tails.add(state, events, size)
        self._hold(state.account, size)
        change = self._change(state.run_id)
        change.events += events
        change.epoch = state.epoch
        budget = self._budget
        if state.size_bytes > budget.run_bytes or state.last - state.first >= budget.run_events:
            self._trim(state, ring_target(budget.run_events), ring_target(budget.run_bytes))
        self._shares.keep(state.account)

    def _trim(self, state: WrittenRun, max_events: int, max_bytes: int) -> None:
        """Drop a run's oldest events until the others fit; never the last."""
        before = state.size_bytes
        self._tails.drop_oldest(state, max(1, max_events), max_bytes)
        self._hold(state.account, state.size_bytes - before)
        if state.closed:
            self._rows.resize(state)
        else:
            self._change(state.run_id)

    def _close(self, state: WrittenRun, end: End) -> None:
        """Close a log."""
        now = self._unix_nano()
        self._tails.move([state])
        self._tails.forget(state)
        self._rows.close(state, end.outcome, now, now + int(self._budget.retention_s * NANO))
        self._change(state.run_id).closed = True
        self._transaction.on_undo(state.saved())
        state.closed = True
        self._leave(state)
        if end.exchange is not None:
            self._sessions.remember(state.row, end.exchange, now)

    def _leave(self, state: WrittenRun) -> None:
        """Have a run in mind no more."""
        del self._open[state.run_id]
        self._transaction.on_undo(self._open.__setitem__, state.run_id, state)

    def _hold(self, account: str, size_bytes: int) -> None:
        """Count what is held more, or less."""
        held = self._shares.held
        held.add(account, size_bytes)
        self._transaction.on_undo(held.add, account, -size_bytes)

    def _delete_free(self) -> None:
        """Delete rows of the journal that are needed no more."""
        with self.transaction():
            deleted = self.journal.delete_free()
        deleted()

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
        found = self._rows.ended_run(run_id, self._unix_nano())
        return self._accounted(*found) if found is not None else None

    def _accounted(self, owner: str, state: WrittenRun) -> WrittenRun:
        """Return what there is of a run, with its account."""
        state.account = self._shares.account_of(owner)
        return state

    def _load(self) -> None:
        """Read from the file what the writer has in mind of it: once, then the journal is empty."""
        self._sessions.load()
        for owner, runs, size_bytes in self._rows.held():
            self._shares.held.add(self._shares.account_of(owner), runs * RUN_OVERHEAD_BYTES + size_bytes)
        for owner, state in self._rows.open_runs():
            self._open[state.run_id] = self._accounted(owner, state)
            self._shares.held.add(state.account, state.size_bytes)
        self._transaction.forget_undo()
