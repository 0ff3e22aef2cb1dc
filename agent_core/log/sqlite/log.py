"""The run log in a SQLite file: it survives the process, however that ends.

One thread writes, one reads, one moves the write-ahead log into the file, and the event loop waits for none of
them. What all runs submit in a turn of the loop is written as one row. After a commit its changes go to the
event loop, where those who read a live run wait: they are served from memory and touch the file only where
they are behind. The newest events of a live run are in memory alone, but for the journal, which is read at a
start after a crash.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from agent_core.log.appending import AwaitableAppends
from agent_core.log.budget import LogBudget
from agent_core.log.contract import (
    START,
    Append,
    Appended,
    Batch,
    Exchange,
    LogAwayError,
    LogFullError,
    OnAnswer,
    Position,
    RunInfo,
    RunRecord,
    SessionBusyError,
    StoreTraits,
)
from agent_core.log.hot import HOT_BYTES, HotRun
from agent_core.log.live_tail import LiveTail
from agent_core.log.outcome import Outcome
from agent_core.log.sqlite.checkpoints import Checkpoints
from agent_core.log.sqlite.journal import JOURNAL_BYTES
from agent_core.log.sqlite.reader import LogReader
from agent_core.log.sqlite.runs import Change
from agent_core.log.sqlite.writer import LogWriter
from agent_core.log.turns import Turns
from tokenwire.outage import Repeats
from tokenwire.telemetry import monotonic_nano

T = TypeVar("T")

SWEEP_S: Final = 30.0
"""How often the store forgets what has expired, and empties its journal of what is older than that."""

TURNS_UNDER_WAY: Final = 2
"""How many turns the writer is given at once: it goes on with the next without waiting for the event loop."""

AGAIN_S: Final = 1.0
"""How long after a failure rows of the journal are deleted again."""

logger = logging.getLogger(__name__)


class _Job(NamedTuple):
    """Something else than a turn to be done by the writer."""

    do: Callable[[], Any]
    done: asyncio.Future[Any]


_Work: TypeAlias = list[Append] | _Job
"""A turn, or something else: what goes into a transaction with others."""

_Aside: TypeAlias = Callable[[], None]
"""What has transactions of its own, or none."""


class SqliteLog(AwaitableAppends):
    """The store `sqlite:PATH`, for one core at a time.

    Args:
        path: The file. It is made where there is none.
        budget: How much it keeps, and how long.
        hot_bytes: How much of a live run is kept in memory; half of it may be in no chunk of the file yet.
        journal_bytes: How much the journal may hold.
        unix_nano: The wall clock.
        stamp: The monotonic clock that `logged_nano` is read from.
    """

    def __init__(
        self,
        path: str | Path,
        budget: LogBudget | None = None,
        *,
        hot_bytes: int = HOT_BYTES,
        journal_bytes: int = JOURNAL_BYTES,
        unix_nano: Callable[[], int] = time.time_ns,
        stamp: Callable[[], int] = monotonic_nano,
    ) -> None:
        self._path = Path(path)
        self._budget = budget or LogBudget()
        self._hot_bytes = hot_bytes
        self._journal_bytes = journal_bytes
        self._unix_nano = unix_nano
        self._stamp = stamp
        self._work: queue.SimpleQueue[_Work | _Aside | None] = queue.SimpleQueue()
        self.turns = Turns(self._work.put, max_under_way=TURNS_UNDER_WAY)
        self._repeats = Repeats()
        self._live: dict[str, HotRun] = {}
        self._readers: Counter[str] = Counter()

    @property
    def traits(self) -> StoreTraits:
        """Survives its process; loses nothing but what a machine loses with its power."""
        return StoreTraits(volatile=False, restorable=False)

    async def start(self) -> None:
        """Open the file."""
        self._loop = asyncio.get_running_loop()
        self._writer = await asyncio.to_thread(
            LogWriter,
            self._path,
            self._budget,
            self._readers,
            self._unix_nano,
            self._stamp,
            tail_bytes=self._hot_bytes // 2,
            journal_bytes=self._journal_bytes,
        )
        self._reader = await asyncio.to_thread(LogReader, self._path, self._unix_nano)
        self._checkpoints = await asyncio.to_thread(Checkpoints, self._path, self._finish_checkpoint)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        self._writing = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._writing.start()
        for info in await self._ask(self._reader.open_runs):
            # Lost by a core before: whoever follows them waits for the reaper.
            self._live[info.record.run_id] = HotRun(info.last, self._hot_bytes)

    async def aclose(self) -> None:
        """Write what is under way, and close the file."""
        await self.turns.aclose()
        self._work.put(None)
        await asyncio.to_thread(self._writing.join)
        await asyncio.to_thread(self._checkpoints.close)
        await asyncio.to_thread(self._reading.shutdown)
        self._reader.close_file()
        await asyncio.to_thread(self._writer.close_file)

    async def open_runs(self, core: str | None = None) -> list[str]:
        """Return the ids of the runs without a terminal event."""
        return [info.record.run_id for info in await self._ask(partial(self._reader.open_runs, core))]

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
        return await self._infos(
            partial(self._reader.session_runs, owner, session_id, max_runs, place, oldest_first)
        )

    async def messages(self, run_ids: Sequence[str]) -> list[str]:
        """Return what the user said in each of some runs."""
        return await self._ask(partial(self._reader.messages, run_ids))

    async def history(self, owner: str, session_id: str) -> list[Exchange]:
        """Return what a session remembers, oldest first."""
        return await self._ask(partial(self._reader.history, owner, session_id))

    async def create(self, record: RunRecord) -> RunRecord:
        """Return the record that stands now."""
        standing: RunRecord = await self._do(partial(self._writer.create, record))
        return record if standing == record else standing

    async def standing(self, request_key: str) -> RunRecord | None:
        """Return the record that stands for a request."""
        return await self._ask(partial(self._reader.standing, request_key))

    async def probe(self) -> None:
        """Return if something can be written."""
        await self._do(self._writer.probe)

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        """Write events of a run."""
        self.turns.submit(append, on_answer)

    async def restore(self, record: RunRecord, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Never needed: the file loses nothing that it has accepted."""
        raise NotImplementedError

    async def reap(self, run_id: str, epoch: int, payload: bytes, outcome: Outcome) -> Appended:
        """Write the terminal event of a run whose writer is gone."""
        return await self._do(partial(self._writer.reap, run_id, epoch, payload, outcome))

    async def delete(self, run_id: str) -> None:
        """Forget a run."""
        await self._do(partial(self._writer.delete, run_id))

    async def read(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> Batch:
        """Return events after a position without waiting."""
        while True:
            live = self._live.get(run_id)
            if live is not None and after.sequence >= live.trimmed:
                return live.slice(after.sequence, max_events, max_bytes)
            batch, ended = await self._ask(
                partial(self._reader.read, run_id, after.sequence, max_events, max_bytes)
            )
            live = live or self._live.get(run_id)
            if ended:
                return batch
            if live is not None:
                return batch._replace(last=max(batch.last, live.last))  # What is newer is in memory alone.
            await self._caught_up()

    async def tail(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> LiveTail:
        """Return a reader that begins after a position."""
        live = self._live.get(run_id)
        if live is None:
            await self.read(run_id, after, 1, 1)  # Raises where there is no such run.
            live = self._live.get(run_id)
        self._readers[run_id] += 1
        return LiveTail(
            live,
            read=partial(self.read, run_id),
            after=after.sequence,
            max_events=max_events,
            max_bytes=max_bytes,
            on_close=partial(self._left, run_id),
        )

    async def info(self, run_id: str) -> RunInfo | None:
        """Return what is known of a run."""
        infos = await self._infos(partial(self._reader.infos, run_id))
        return infos[0] if infos else None

    def _left(self, run_id: str) -> None:
        """Count one reader less."""
        self._readers[run_id] -= 1
        if not self._readers[run_id]:
            del self._readers[run_id]

    async def _infos(self, ask: Callable[[], list[RunInfo]]) -> list[RunInfo]:
        """Return what the reader's thread knows of some runs, with what is in memory alone of them."""
        while True:
            infos = await self._ask(ask)
            live = [self._live.get(info.record.run_id) for info in infos]
            if all(
                one is not None or info.outcome is not None for one, info in zip(live, infos, strict=True)
            ):
                return [
                    replace(info, last=max(info.last, one.last)) if one is not None else info
                    for one, info in zip(live, infos, strict=True)
                ]
            await self._caught_up()

    async def _caught_up(self) -> None:
        """Return when the event loop knows what the file said a moment ago: a run has begun, or ended."""
        await self._do(lambda: None)

    async def _do(self, do: Callable[[], T]) -> T:
        """Return what the writer's thread returns, once it is committed.

        Raises:
            LogAwayError: Nothing was written.
        """
        done: asyncio.Future[T] = self._loop.create_future()
        self._work.put(_Job(do, done))
        return await done

    async def _ask(self, ask: Callable[[], T]) -> T:
        """Return what the reader's thread returns.

        Raises:
            LogAwayError: The file can't be read.
        """
        try:
            return await self._loop.run_in_executor(self._reading, ask)
        except sqlite3.Error as error:
            raise LogAwayError(str(error)) from error

    def _write(self) -> None:
        """Write what comes until the end comes. What came meanwhile goes together."""
        work: list[_Work | _Aside | None] = []
        next_sweep_s, tidy_from_s = time.monotonic() + SWEEP_S, 0.0
        while None not in work:
            next_s = min(next_sweep_s, tidy_from_s) if self._writer.untidy else next_sweep_s
            work = self._taken(max(0.0, next_s - time.monotonic()))
            group = [one for one in work if isinstance(one, list | _Job)]
            if group:
                self._commit(group)
            for do in work:
                if callable(do):
                    self._aside(do)
            now_s = time.monotonic()
            if now_s >= next_sweep_s:
                next_sweep_s = now_s + SWEEP_S
                self._writer.age()
                self._aside(self._sweep)
            if self._writer.untidy and now_s >= tidy_from_s and not self._aside(self._writer.tidy):
                tidy_from_s = now_s + AGAIN_S
            self._checkpoints.written(self._writer.take_written_bytes())

    def _taken(self, wait_s: float) -> list[_Work | _Aside | None]:
        """Return all that has come; None is the end, after which nothing comes."""
        work: list[_Work | _Aside | None] = []
        with suppress(queue.Empty):
            work.append(self._work.get(timeout=wait_s))
            while True:
                work.append(self._work.get_nowait())
        return work

    def _commit(self, group: list[_Work]) -> None:
        """Do some work in one transaction, and tell the event loop."""
        changes: dict[str, Change] = {}
        answers: list[Any]
        try:
            with self._writer.transaction():
                answers = [self._do_one(work) for work in group]
            changes = self._writer.changes
        except sqlite3.Error as error:
            answers = [LogAwayError(str(error)) for _ in group]
        except Exception as error:  # noqa: BLE001 # a bug: whoever waits must not wait for ever
            answers = [error for _ in group]
        self._loop.call_soon_threadsafe(self._committed, group, answers, changes)

    def _do_one(self, work: _Work) -> Any:
        """Do something in the open transaction. Return the answer, or the refusal."""
        if isinstance(work, list):
            return list(map(self._writer.write, work))
        try:
            return work.do()
        except (LogFullError, SessionBusyError) as error:
            return error

    def _aside(self, do: _Aside) -> bool:
        """Do something that no one waits for. Return False where it failed: it is tried again later."""
        try:
            do()
        except sqlite3.Error as error:
            self._repeats.log(logger, logging.WARNING, "the run log could not be tidied up: %s", error)
        except Exception:
            logger.exception("the run log could not be tidied up: this is a bug of the core")
        else:
            return True
        return False

    def _sweep(self) -> None:
        """Forget some of what has expired, and tell the event loop."""
        with self._writer.transaction():
            self._writer.sweep()
        self._loop.call_soon_threadsafe(self._committed, [], [], self._writer.changes)

    def _finish_checkpoint(self) -> None:
        """Have the writer make the last of a checkpoint between two turns."""
        self._work.put(self._writer.checkpoint)

    def _committed(self, group: list[_Work], answers: list[Any], changes: dict[str, Change]) -> None:
        """Tell those who read and those who write what was committed."""
        for run_id, change in changes.items():
            if change.created:
                self._live[run_id] = HotRun(START, self._hot_bytes)
            live = self._live.get(run_id)
            if live is not None:
                live.apply(
                    change.events,
                    epoch=change.epoch,
                    first=change.first,
                    closed=change.closed,
                    gone=change.gone,
                )
            if change.gone or change.closed:
                # Those who read it go on with what they have; others read the file.
                self._live.pop(run_id, None)
        for work, answer in zip(group, answers, strict=True):
            if isinstance(work, list):
                self.turns.answered(answer)
            elif work.done.done():
                pass  # The one who asked was cancelled.
            elif isinstance(answer, Exception):
                work.done.set_exception(answer)
            else:
                work.done.set_result(answer)
