"""The run log in a SQLite file: it survives the process, however that ends.

One thread writes, one reads, and the event loop waits for neither. The writer takes all that has
come while it was busy into one transaction. After a commit its changes go to the event loop, where
those who read a live run wait: they are served from memory and touch the file only where they are
behind.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

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
from agent_core.log.sqlite.reader import LogReader
from agent_core.log.sqlite.runs import Change
from agent_core.log.sqlite.writer import LogWriter
from tokenwire.telemetry import monotonic_nano

T = TypeVar("T")

JOBS_AT_ONCE: Final = 256
"""The most appends of one transaction."""

SWEEP_S: Final = 30.0
"""How often an idle store forgets what has expired."""


class _Job(NamedTuple):
    """Something to be done by the writer."""

    do: Callable[[], Any]
    done: asyncio.Future[Any]


class SqliteLog(AwaitableAppends):
    """The store `sqlite:PATH`, for one core at a time.

    Args:
        path: The file. It is made where there is none.
        budget: How much it keeps, and how long.
        hot_bytes: How much of a live run is kept in memory besides.
        unix_nano: The wall clock.
        stamp: The monotonic clock that `logged_nano` is read from.
    """

    def __init__(
        self,
        path: str | Path,
        budget: LogBudget | None = None,
        *,
        hot_bytes: int = HOT_BYTES,
        unix_nano: Callable[[], int] = time.time_ns,
        stamp: Callable[[], int] = monotonic_nano,
    ) -> None:
        self._path = Path(path)
        self._budget = budget or LogBudget()
        self._hot_bytes = hot_bytes
        self._unix_nano = unix_nano
        self._stamp = stamp
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
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
            LogWriter, self._path, self._budget, self._readers, self._unix_nano, self._stamp
        )
        self._reader = await asyncio.to_thread(LogReader, self._path, self._unix_nano)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        self._writing = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._writing.start()
        for info in await self._ask(partial(self._reader.open_runs, None)):
            # Lost by a core before: whoever follows them waits for the reaper.
            self._live[info.record.run_id] = HotRun(info.last, self._hot_bytes)

    async def aclose(self) -> None:
        """Write what is under way, and close the file."""
        self._jobs.put(None)
        await asyncio.to_thread(self._writing.join)
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
        return await self._ask(
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
        run_id, epoch, first, payloads, end = append
        if end is None:
            do = partial(self._writer.append, run_id, epoch, first, payloads)
        else:
            do = partial(self._writer.close, run_id, epoch, first, payloads, *end)
        done: asyncio.Future[Appended] = self._loop.create_future()
        done.add_done_callback(lambda done: on_answer(done.exception() or done.result()))  # type: ignore[arg-type]
        self._jobs.put(_Job(do, done))

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
        return await self._ask(partial(self._reader.read, run_id, after.sequence, max_events, max_bytes))

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
        return await self._ask(partial(self._reader.info, run_id))

    def _left(self, run_id: str) -> None:
        """Count one reader less."""
        self._readers[run_id] -= 1
        if not self._readers[run_id]:
            del self._readers[run_id]

    async def _do(self, do: Callable[[], T]) -> T:
        """Return what the writer's thread returns, once it is committed.

        Raises:
            LogAwayError: Nothing was written.
        """
        done: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(do, done))
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
        """Write what comes, in groups, until the end comes."""
        ended = False
        while not ended:
            jobs: list[_Job] = []
            try:
                job = self._jobs.get(timeout=SWEEP_S)
                while job is not None and len(jobs) < JOBS_AT_ONCE:
                    jobs.append(job)
                    job = self._jobs.get_nowait()
                if job is None:
                    ended = True
                else:
                    jobs.append(job)
            except queue.Empty:
                pass
            self._commit(jobs)

    def _commit(self, jobs: list[_Job]) -> None:
        """Do some jobs in one transaction, and tell the event loop."""
        answers: list[tuple[asyncio.Future[Any], Any]] = []
        changes: dict[str, Change] = {}
        try:
            with self._writer.transaction():
                if not jobs:
                    self._writer.sweep()
                for job in jobs:
                    try:
                        answers.append((job.done, job.do()))
                    except (LogFullError, SessionBusyError) as error:
                        answers.append((job.done, error))
            changes = self._writer.changes
        except sqlite3.Error as error:
            answers = [(job.done, LogAwayError(str(error))) for job in jobs]
        except Exception as error:  # noqa: BLE001 # a bug: whoever waits must not wait for ever
            answers = [(job.done, error) for job in jobs]
        if answers or changes:
            self._loop.call_soon_threadsafe(self._committed, answers, changes)

    def _committed(self, answers: list[tuple[asyncio.Future[Any], Any]], changes: dict[str, Change]) -> None:
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
        for done, answer in answers:
            if done.done():
                continue  # The one who asked was cancelled.
            if isinstance(answer, Exception):
                done.set_exception(answer)
            else:
                done.set_result(answer)
