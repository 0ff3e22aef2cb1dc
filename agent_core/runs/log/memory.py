"""The run log in this process's memory: lost with it, and forgotten some time after the end."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent_core.runs.encoding import NANO, seal
from agent_core.runs.log.contract import (
    FIRST_EPOCH,
    START,
    Appended,
    AppendStatus,
    Batch,
    Entry,
    Exchange,
    LogBudget,
    LogFullError,
    LogGoneError,
    Position,
    RunInfo,
    RunRecord,
    SessionBusyError,
    exchange_bytes,
    ring_target,
)
from agent_core.runs.outcome import Outcome
from tokenwire.telemetry import monotonic_nano

ENTRY_OVERHEAD_BYTES: Final = 160
"""What an entry costs in memory besides its event: measured with sys.getsizeof on CPython 3.11
(a tuple of three, a bytes object's header, an int)."""

RUN_OVERHEAD_BYTES: Final = 2 * 1024
"""What a run costs in memory besides its entries."""

_OK: Final = Appended(AppendStatus.OK)


@dataclass(slots=True, eq=False)
class _Log:
    """One run's log."""

    record: RunRecord
    epoch: int = FIRST_EPOCH
    entries: list[Entry] = field(default_factory=list)
    trimmed: int = 0
    """How many events came before the entries."""
    event_bytes: int = 0
    outcome: Outcome | None = None
    end_unix_nano: int = 0
    expire_unix_nano: int = 0
    gone: bool = False
    readers: int = 0
    waiting: dict[_MemoryTail, asyncio.Future[None]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """What it costs in memory, about."""
        return RUN_OVERHEAD_BYTES + self.event_bytes + ENTRY_OVERHEAD_BYTES * len(self.entries)

    @property
    def last(self) -> Position:
        """The last event."""
        return Position(*self.entries[-1][:2]) if self.entries else START

    def slice(self, after: int, max_events: int, max_bytes: int) -> Batch:
        """Return what comes after a sequence.

        Raises:
            LogGoneError: The run was forgotten.
        """
        if self.gone:
            raise LogGoneError
        # Dense: the entry with sequence n stands at n - 1 - trimmed.
        start = max(0, after - self.trimmed)
        entries = self.entries[start : start + max_events]
        if len(entries) > 1:
            entries = _cut(entries, max_bytes)
        complete = self.outcome is not None and start + len(entries) >= len(self.entries)
        return Batch(entries, complete, self.last)

    def trim(self, max_events: int, max_bytes: int) -> int:
        """Drop the oldest entries until the others fit; never the last. Return the bytes of memory freed."""
        count = max(0, len(self.entries) - max(1, max_events))
        dropped = sum(len(entry.event) for entry in self.entries[:count])
        while self.event_bytes - dropped > max_bytes and count < len(self.entries) - 1:
            dropped += len(self.entries[count].event)
            count += 1
        del self.entries[:count]
        self.trimmed += count
        self.event_bytes -= dropped
        return dropped + count * ENTRY_OVERHEAD_BYTES

    def wake(self) -> None:
        """Let every waiting reader look again."""
        if self.waiting:
            for waiter in self.waiting.values():
                if not waiter.done():
                    waiter.set_result(None)
            self.waiting.clear()


@dataclass(slots=True, eq=False)
class _Session:
    """What is known of one principal's session."""

    runs: dict[str, _Log] = field(default_factory=dict)
    """Its runs, in the order of their creation."""
    live: str = ""
    """The run that goes on; empty for none."""
    exchanges: deque[tuple[Exchange, int]] = field(default_factory=deque)
    """What was said, with its bytes."""
    size_bytes: int = 0
    """The bytes of what was said."""
    expire_unix_nano: int = 0
    """When that is forgotten."""

    def remember(self, exchange: Exchange, budget: LogBudget) -> None:
        """Add an exchange, and drop the oldest ones that are too much."""
        size = exchange_bytes(exchange)
        if size > budget.session_bytes:
            return
        self.exchanges.append((exchange, size))
        self.size_bytes += size
        while len(self.exchanges) > budget.session_exchanges or self.size_bytes > budget.session_bytes:
            self.size_bytes -= self.exchanges.popleft()[1]

    def forget(self) -> None:
        """Drop what was said."""
        self.exchanges.clear()
        self.size_bytes = 0


class _MemoryTail:
    """A reader of one run's log."""

    def __init__(self, log: _Log, after: Position, max_events: int, max_bytes: int) -> None:
        self._log = log
        self._after = after.sequence
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._interrupted = False
        log.readers += 1

    async def next(self) -> Batch:
        """Return what comes next; waits when there is nothing."""
        log = self._log
        while True:
            batch = log.slice(self._after, self._max_events, self._max_bytes)
            if batch.entries or batch.complete or self._interrupted:
                self._interrupted = False
                if batch.entries:
                    self._after = batch.entries[-1].sequence
                return batch
            waiter = log.waiting[self] = asyncio.get_running_loop().create_future()
            try:
                await waiter
            finally:
                # Also when the reader was cancelled: a silent run must not collect those who left.
                log.waiting.pop(self, None)

    def interrupt(self) -> None:
        """Let `next` return at once."""
        self._interrupted = True
        waiter = self._log.waiting.get(self)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def aclose(self) -> None:
        """Let the log be forgotten early again."""
        self._log.readers -= 1


class MemoryLog:
    """The store `memory`. It never waits, so each method is one step for all other tasks.

    Args:
        budget: How much it keeps, and how long.
        unix_nano: The wall clock.
        stamp: The monotonic clock that `logged_nano` is read from.
    """

    def __init__(
        self,
        budget: LogBudget | None = None,
        *,
        unix_nano: Callable[[], int] = time.time_ns,
        stamp: Callable[[], int] = monotonic_nano,
    ) -> None:
        self._budget = budget or LogBudget()
        self._unix_nano = unix_nano
        self._stamp = stamp
        self._logs: dict[str, _Log] = {}
        self._ended: dict[str, _Log] = {}  # in the order of their ends
        self._requests: dict[str, RunRecord] = {}
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._remembering: dict[tuple[str, str], _Session] = {}  # in the order of their last exchanges
        self._size_bytes = 0

    @property
    def volatile(self) -> bool:
        """True: the log is lost with its process."""
        return True

    @property
    def waits(self) -> bool:
        """False: all is done at once."""
        return False

    async def start(self) -> None:
        """Do nothing: memory is always open."""

    async def aclose(self) -> None:
        """Do nothing."""

    @property
    def forgets(self) -> bool:
        """False: what was accepted stays."""
        return False

    async def open_runs(self, core: str | None = None) -> list[RunInfo]:
        """Return the runs that go on."""
        return [
            _info(log)
            for log in self._logs.values()
            if log.outcome is None and core in {None, log.record.core}
        ]

    async def create(self, record: RunRecord) -> RunRecord:
        """Return the record that stands now. Forgets what has expired."""
        known = self._logs.get(record.run_id)
        if known is not None:
            return known.record
        # Of the budget, a run's whole ring must be free.
        room_bytes = self._budget.total_bytes - self._budget.run_bytes
        self._sweep(room_bytes)
        if record.request_key:
            earlier = self._requests.get(record.request_key)
            if earlier is not None:
                return earlier
        session = self._session(record) if record.session_id else None
        if session is not None and session.live:
            raise SessionBusyError(session.live)
        if self._size_bytes > room_bytes:
            raise LogFullError
        if record.request_key:
            self._requests[record.request_key] = record
        log = self._logs[record.run_id] = _Log(record)
        if session is not None:
            session.runs[record.run_id] = log
            session.live = record.run_id
        self._size_bytes += RUN_OVERHEAD_BYTES
        return record

    async def append(self, run_id: str, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Write events; those that the log has already are passed over."""
        log = self._logs.get(run_id)
        return self._append(log, epoch, first, payloads)

    async def close(  # noqa: PLR0913, PLR0917 # an append, and an end
        self,
        run_id: str,
        epoch: int,
        first: int,
        payloads: Sequence[bytes],
        outcome: Outcome,
        exchange: Exchange | None = None,
    ) -> Appended:
        """Append the last events and close the log."""
        log = self._logs.get(run_id)
        appended = self._append(log, epoch, first, payloads)
        if log is not None and appended.status is AppendStatus.OK and log.outcome is None:
            self._close(log, outcome)
            if exchange is not None and log.record.session_id:
                self._remember(log, exchange)
        return appended

    async def read(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> Batch:
        """Return events after a position without waiting."""
        return self._known(run_id).slice(after.sequence, max_events, max_bytes)

    async def tail(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> _MemoryTail:
        """Return a reader that begins after a position."""
        return _MemoryTail(self._known(run_id), after, max_events, max_bytes)

    async def info(self, run_id: str) -> RunInfo | None:
        """Return what is known of a run."""
        self._sweep(self._budget.total_bytes)
        log = self._logs.get(run_id)
        if log is None:
            return None
        return _info(log)

    async def reap(self, run_id: str, epoch: int, payload: bytes, outcome: Outcome) -> Appended:
        """Write the terminal event of a run whose writer is gone."""
        log = self._logs.get(run_id)
        if log is None:
            return Appended(AppendStatus.GONE)
        if log.epoch != epoch:
            return Appended(AppendStatus.FENCED)
        if log.outcome is not None:
            return Appended(AppendStatus.CLOSED)
        log.epoch += 1
        appended = self._append(log, log.epoch, log.last.sequence + 1, (payload,))
        self._close(log, outcome)
        return appended

    async def session_runs(
        self, owner: str, session_id: str, max_runs: int, before: tuple[int, str] | None = None
    ) -> list[RunInfo]:
        """Return a session's runs, newest first."""
        self._sweep(self._budget.total_bytes)
        session = self._sessions.get((owner, session_id))
        infos = [_info(log) for log in session.runs.values()] if session is not None else []
        infos.sort(key=lambda info: place_of(info.record), reverse=True)
        return [info for info in infos if before is None or place_of(info.record) < before][:max_runs]

    async def history(self, owner: str, session_id: str) -> list[Exchange]:
        """Return what a session remembers, oldest first."""
        self._sweep(self._budget.total_bytes)
        session = self._sessions.get((owner, session_id))
        return [exchange for exchange, _ in session.exchanges] if session is not None else []

    async def delete(self, run_id: str) -> None:
        """Forget a run."""
        log = self._logs.get(run_id)
        if log is not None:
            self._forget(log)

    def _append(self, log: _Log | None, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Return what became of an append."""
        if log is None:
            return Appended(AppendStatus.GONE)
        if epoch != log.epoch:
            return Appended(AppendStatus.FENCED)
        entries = log.entries
        following = log.trimmed + len(entries) + 1
        known = following - first
        if known < 0:
            return Appended(AppendStatus.GAP, expected=following)
        if known >= len(payloads):
            return _OK
        if log.outcome is not None:
            return Appended(AppendStatus.CLOSED)
        now = self._stamp()
        size = 0
        before = len(entries)
        for sequence, payload in enumerate(payloads[known:] if known else payloads, following):
            event = seal(payload, epoch=epoch, sequence=sequence, logged_nano=now)
            size += len(event)
            entries.append(Entry(epoch, sequence, event))
        log.event_bytes += size
        self._size_bytes += size + (len(entries) - before) * ENTRY_OVERHEAD_BYTES
        self._keep_to_budget(log)
        log.wake()
        return _OK

    def _keep_to_budget(self, log: _Log) -> None:
        """Drop what is too much after an append to a log."""
        budget = self._budget
        if log.event_bytes > budget.run_bytes or len(log.entries) > budget.run_events:
            events, size = ring_target(budget.run_events), ring_target(budget.run_bytes)
            self._size_bytes -= log.trim(events, size)
        if self._size_bytes > budget.total_bytes:
            self._sweep(budget.total_bytes)
        while self._size_bytes > budget.total_bytes:
            largest = max(self._logs.values(), key=lambda log: log.event_bytes)
            freed = largest.trim(len(largest.entries) * 3 // 4, largest.event_bytes)
            if not freed:
                break
            self._size_bytes -= freed

    def _close(self, log: _Log, outcome: Outcome) -> None:
        """Close a log, once."""
        if log.outcome is None:
            log.outcome = outcome
            log.end_unix_nano = self._unix_nano()
            log.expire_unix_nano = log.end_unix_nano + int(self._budget.retention_s * NANO)
            self._ended[log.record.run_id] = log
            session = self._sessions.get((log.record.owner, log.record.session_id))
            if session is not None and session.live == log.record.run_id:
                session.live = ""
            log.wake()

    def _session(self, record: RunRecord) -> _Session:
        """Return the session of a run."""
        return self._sessions.setdefault((record.owner, record.session_id), _Session())

    def _remember(self, log: _Log, exchange: Exchange) -> None:
        """Keep what was said in a run's session."""
        session = self._session(log.record)
        before = session.size_bytes
        session.remember(exchange, self._budget)
        self._size_bytes += session.size_bytes - before
        session.expire_unix_nano = log.end_unix_nano + int(self._budget.session_retention_s * NANO)
        key = (log.record.owner, log.record.session_id)
        self._remembering.pop(key, None)
        self._remembering[key] = session

    def _known(self, run_id: str) -> _Log:
        """Return a run's log."""
        log = self._logs.get(run_id)
        if log is None:
            raise LogGoneError
        return log

    def _sweep(self, room_bytes: int) -> None:
        """Forget ended runs, oldest first: the expired ones, and what exceeds some bytes.

        One that is still read stays until it expires: its readers' streams would end without the
        terminal event.
        """
        now = self._unix_nano()
        for log in self._oldest_ended(now, room_bytes):
            if log.expire_unix_nano <= now or (self._size_bytes > room_bytes and not log.readers):
                self._forget(log)
        self._sweep_sessions(now, room_bytes)

    def _sweep_sessions(self, now: int, room_bytes: int) -> None:
        """Forget what was said, the oldest first: what has expired, and what exceeds some bytes."""
        while self._remembering:
            key, session = next(iter(self._remembering.items()))
            if session.expire_unix_nano > now and self._size_bytes <= room_bytes:
                return
            del self._remembering[key]
            self._size_bytes -= session.size_bytes
            session.forget()
            if not session.runs:
                del self._sessions[key]

    def _oldest_ended(self, now: int, room_bytes: int) -> list[_Log]:
        """Return the ended runs that may have to go, oldest first."""
        if self._size_bytes > room_bytes:
            return list(self._ended.values())
        return list(itertools.takewhile(lambda log: log.expire_unix_nano <= now, self._ended.values()))

    def _forget(self, log: _Log) -> None:
        """Forget a run, and tell those who read it."""
        record = log.record
        del self._logs[record.run_id]
        self._ended.pop(record.run_id, None)
        self._requests.pop(record.request_key, None)
        self._forget_in_session(log)
        self._size_bytes -= log.size_bytes
        log.gone = True
        log.wake()

    def _forget_in_session(self, log: _Log) -> None:
        """Take a run from its session, and forget the session with its last trace."""
        key = (log.record.owner, log.record.session_id)
        session = self._sessions.get(key)
        if session is not None:
            session.runs.pop(log.record.run_id, None)
            if session.live == log.record.run_id:
                session.live = ""
            if not session.runs and not session.exchanges:
                del self._sessions[key]


def place_of(record: RunRecord) -> tuple[int, str]:
    """Return where a run stands among those of its session."""
    return record.create_unix_nano, record.run_id


def _info(log: _Log) -> RunInfo:
    """Return what is known of a run."""
    return RunInfo(
        record=log.record,
        first=Position(*log.entries[0][:2]) if log.entries else Position(FIRST_EPOCH, 1),
        last=log.last,
        outcome=log.outcome,
        end_unix_nano=log.end_unix_nano,
        expire_unix_nano=log.expire_unix_nano,
    )


def _cut(entries: list[Entry], max_bytes: int) -> list[Entry]:
    """Return the first of some entries that fit, one at least."""
    total = 0
    for index, entry in enumerate(entries):
        total += len(entry.event)
        if total > max_bytes:
            return entries[: max(1, index)]
    return entries
