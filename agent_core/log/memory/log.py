"""The run log in this process's memory: lost with it, and forgotten some time after the end."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent_core.log.append import Append, Appended, AppendStatus, AwaitableAppends, OnAnswer
from agent_core.log.batch import Batch
from agent_core.log.budget import LogBudget, ring_target
from agent_core.log.contract import StoreTraits
from agent_core.log.encoding import NANO, seal
from agent_core.log.errors import LogGoneError, SessionBusyError
from agent_core.log.live_tail import LiveTail
from agent_core.log.memory.run import EVENT_OVERHEAD_BYTES, MemoryRun
from agent_core.log.memory.sessions import MemorySessions
from agent_core.log.position import Position
from agent_core.log.records import Exchange, Outcome, RunInfo, RunRecord
from agent_core.log.shares import Live, Shares
from tokenwire.telemetry import monotonic_nano

SWEEP_S: Final = 30.0
"""How often an idle store forgets what has expired."""

_OK: Final = Appended(AppendStatus.OK)


@dataclass(slots=True, eq=False)
class _Account:
    """The runs of one owner; of all of them where owners have no shares."""

    runs: dict[str, MemoryRun] = field(default_factory=dict)
    ended: dict[str, MemoryRun] = field(default_factory=dict)
    """Those that have ended, in the order of their ends."""
    live_message_bytes: int = 0
    """What the messages of those that go on need beside the shortest rings."""


class MemoryLog(AwaitableAppends):
    """The store `memory`. It never waits, so each method is one step for all other tasks.

    Args:
        budget: How much it keeps, and how long.
        unix_nano: The wall clock.
        stamp: The monotonic clock that `logged_nano` is read from.
        sweep_s: How often it forgets what has expired while nothing is asked.
    """

    def __init__(
        self,
        budget: LogBudget | None = None,
        *,
        unix_nano: Callable[[], int] = time.time_ns,
        stamp: Callable[[], int] = monotonic_nano,
        sweep_s: float = SWEEP_S,
    ) -> None:
        self._budget = budget or LogBudget()
        self._unix_nano = unix_nano
        self._stamp = stamp
        self._logs: dict[str, MemoryRun] = {}
        self._ended: dict[str, MemoryRun] = {}  # in the order of their ends
        self._accounts: defaultdict[str, _Account] = defaultdict(_Account)
        self._requests: dict[str, RunRecord] = {}
        self._shares = Shares(self._budget, self)
        self._sessions = MemorySessions(self._budget, self._shares)
        self._sweep_s = sweep_s
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def traits(self) -> StoreTraits:
        """Lost with its process; what was accepted stays until then."""
        return StoreTraits(volatile=True, restorable=False)

    async def start(self) -> None:
        """Begin to forget what expires, also while nothing is asked."""
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(self._sweep_s, self._sweep_in_turn, loop)

    async def aclose(self) -> None:
        """Stop forgetting by itself."""
        if self._sweeping is not None:
            self._sweeping.cancel()

    async def open_runs(self, core: str | None = None) -> list[str]:
        """Return the ids of the runs that go on."""
        return [
            run_id
            for run_id, log in self._logs.items()
            if log.outcome is None and core in {None, log.record.core}
        ]

    async def create(self, record: RunRecord) -> RunRecord:
        """Return the record that stands now. Forgets what has expired."""
        known = self._logs.get(record.run_id)
        if known is not None:
            return known.record
        self._sweep()
        if record.request_key:
            earlier = self._requests.get(record.request_key)
            if earlier is not None:
                return earlier
        live = self._sessions.live(record)
        if live:
            raise SessionBusyError(live)
        account = self._shares.account_of(record.owner)
        self._shares.admit(account, len(record.message.encode()))
        log = self._logs[record.run_id] = MemoryRun(record, account)
        runs = self._accounts[account]
        runs.runs[record.run_id] = log
        runs.live_message_bytes += log.beyond_bytes
        if record.request_key:
            self._requests[record.request_key] = log.record
        self._sessions.begin(record)
        self._shares.held.add(account, log.size_bytes)
        self._shares.keep(account)
        return record

    async def standing(self, request_key: str) -> RunRecord | None:
        """Return the record that stands for a request."""
        self._sweep()
        return self._requests.get(request_key)

    async def probe(self) -> None:
        """Return: memory is never away."""

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        """Write events of a run at once."""
        run_id, epoch, first, payloads, end = append
        log = self._logs.get(run_id)
        appended = self._append(log, epoch, first, payloads)
        if end is not None and log is not None and appended is _OK and log.outcome is None:
            self._close(log, end.outcome)
            if end.exchange is not None:
                self._sessions.remember(log.record, end.exchange, log.end_unix_nano)
        on_answer(appended)

    async def restore(self, record: RunRecord, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Never needed: memory loses nothing that it has accepted."""
        raise NotImplementedError

    async def read(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> Batch:
        """Return events after a position without waiting."""
        return self._known(run_id).slice(after.sequence, max_events, max_bytes)

    async def tail(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> LiveTail:
        """Return a reader that begins after a position."""
        log = self._known(run_id)
        log.readers += 1
        return LiveTail(
            log, after=after.sequence, max_events=max_events, max_bytes=max_bytes, on_close=log.left
        )

    async def info(self, run_id: str) -> RunInfo | None:
        """Return what is known of a run."""
        self._sweep()
        log = self._logs.get(run_id)
        if log is None:
            return None
        return log.info

    async def messages(self, run_ids: Sequence[str]) -> list[str]:
        """Return what the user said in each of some runs."""
        self._sweep()
        logs = map(self._logs.get, run_ids)
        return [log.message.decode() if log is not None else "" for log in logs]

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
        self,
        owner: str,
        session_id: str,
        max_runs: int,
        place: tuple[int, str] | None = None,
        *,
        oldest_first: bool = False,
    ) -> list[RunInfo]:
        """Return a session's runs, newest first or oldest first."""
        self._sweep()
        logs = {
            place_of(log.record): log
            for log in (self._logs[run_id] for run_id in self._sessions.run_ids(owner, session_id))
        }
        places = sorted(logs, reverse=not oldest_first)
        if place is not None:
            places = [other for other in places if (other > place if oldest_first else other < place)]
        return [logs[other].info for other in places[:max_runs]]

    async def history(self, owner: str, session_id: str) -> list[Exchange]:
        """Return what a session remembers, oldest first."""
        self._sweep()
        return self._sessions.history(owner, session_id)

    async def delete(self, run_id: str) -> None:
        """Forget a run."""
        log = self._logs.get(run_id)
        if log is not None:
            self._forget(log)

    def _append(self, log: MemoryRun | None, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Return what became of an append."""
        if log is None:
            return Appended(AppendStatus.GONE)
        if epoch != log.epoch:
            return Appended(AppendStatus.FENCED)
        following = log.trimmed + len(log.events) + 1
        known = following - first
        if known < 0:
            return Appended(AppendStatus.GAP, expected=following)
        if known >= len(payloads):
            return _OK
        if log.outcome is not None:
            return Appended(AppendStatus.CLOSED)
        if known:
            payloads = payloads[known:]
        events = seal(payloads, epoch=epoch, first=following, logged_nano=self._stamp())
        added_bytes = log.add(events, epoch) + len(events) * EVENT_OVERHEAD_BYTES
        budget = self._budget
        if log.event_bytes > budget.run_bytes or len(log.events) > budget.run_events:
            before = log.size_bytes
            log.trim(ring_target(budget.run_events), ring_target(budget.run_bytes))
            added_bytes -= before - log.size_bytes
        self._shares.take(log.account, added_bytes)
        if log.listening or log.waiting:
            log.wake()
        return _OK

    def live(self, account: str) -> Live:
        """Return how many runs of an account go on, and what their messages need."""
        runs = self._accounts.get(account)
        if runs is None:
            return Live(0, 0)
        return Live(len(runs.runs) - len(runs.ended), runs.live_message_bytes)

    def drop_ended(self, account: str) -> bool:
        """Forget the oldest ended run that nobody reads: readers' streams would end without the end."""
        ended = self._accounts[account].ended.values() if account in self._accounts else ()
        oldest = next((log for log in ended if not log.readers), None)
        if oldest is None:
            return False
        self._forget(oldest)
        return True

    def drop_said(self, account: str) -> bool:
        """Forget what the session remembers that was used least lately."""
        return self._sessions.drop_oldest(account)

    def shorten(self, account: str, least_bytes: int) -> bool:
        """Drop the oldest quarter of the largest run's events."""
        runs = self._accounts[account].runs.values() if account in self._accounts else ()
        candidates = (
            log for log in runs if len(log.events) > 1 and log.size_bytes - log.beyond_bytes > least_bytes
        )
        largest = max(candidates, key=lambda log: log.size_bytes, default=None)
        if largest is None:
            return False
        before = largest.size_bytes
        largest.trim(len(largest.events) * 3 // 4, largest.event_bytes)
        self._shares.held.add(account, largest.size_bytes - before)
        return True

    def _close(self, log: MemoryRun, outcome: Outcome) -> None:
        """Close a log, once."""
        if log.outcome is None:
            end = self._unix_nano()
            log.close(outcome, end, end + int(self._budget.retention_s * NANO))
            self._ended[log.record.run_id] = log
            account = self._accounts[log.account]
            account.ended[log.record.run_id] = log
            account.live_message_bytes -= log.beyond_bytes
            self._sessions.end(log.record)

    def _known(self, run_id: str) -> MemoryRun:
        """Return a run's log."""
        log = self._logs.get(run_id)
        if log is None:
            raise LogGoneError
        return log

    @property
    def _size_bytes(self) -> int:
        """What all of it costs in memory, about."""
        return self._shares.held.total

    def _sweep(self) -> None:
        """Forget what has expired."""
        now = self._unix_nano()
        expired = itertools.takewhile(lambda log: log.expire_unix_nano <= now, self._ended.values())
        for log in list(expired):
            self._forget(log)
        self._sessions.sweep(now)

    def _sweep_in_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forget what has expired, now and every so often."""
        self._sweep()
        self._sweeping = loop.call_later(self._sweep_s, self._sweep_in_turn, loop)

    def _forget(self, log: MemoryRun) -> None:
        """Forget a run, and tell those who read it."""
        record = log.record
        del self._logs[record.run_id]
        self._ended.pop(record.run_id, None)
        self._requests.pop(record.request_key, None)
        self._sessions.forget_run(record)
        name = log.account
        account = self._accounts[name]
        del account.runs[record.run_id]
        if account.ended.pop(record.run_id, None) is None:
            account.live_message_bytes -= log.beyond_bytes
        if not account.runs:
            del self._accounts[name]
        self._shares.held.add(name, -log.size_bytes)
        log.gone = True
        log.wake()


def place_of(record: RunRecord) -> tuple[int, str]:
    """Return where a run stands among those of its session."""
    return record.create_unix_nano, record.run_id
