"""The run log in a SQLite file: it survives the process, however that ends.

What all runs submit in a turn of the event loop is written as one row of a journal. After a commit those who
read a live run get it from memory, and touch the file only where they are behind. The newest events of a live
run are in memory alone, but for the journal, which is read at a start after a crash.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from agent_core.log.append import Append, Appended, AwaitableAppends, OnAnswer
from agent_core.log.batch import Batch, fitting
from agent_core.log.budget import LogBudget
from agent_core.log.contract import StoreTraits
from agent_core.log.errors import LogAwayError
from agent_core.log.live_tail import LIVE_BYTES, LiveEvents, LiveTail
from agent_core.log.position import START, Position
from agent_core.log.records import Exchange, Outcome, RunInfo, RunRecord
from agent_core.log.sqlite.journal import JOURNAL_BYTES
from agent_core.log.sqlite.reader import LogReader
from agent_core.log.sqlite.writer import LogWriter
from agent_core.log.sqlite.writing import Changes, Job, Writing
from agent_core.log.turns import Turns
from tokenwire.telemetry import monotonic_nano

T = TypeVar("T")

logger = logging.getLogger(__name__)


class SqliteLog(AwaitableAppends):
    """The store `sqlite:PATH`, for one core at a time.

    Args:
        path: The file. It is made where there is none.
        budget: How much it keeps, and how long.
        live_bytes: How much of a live run is kept in memory; half of it may be in no chunk of the file yet.
        journal_bytes: How much the journal may hold.
        unix_nano: The wall clock.
        stamp: The monotonic clock that `logged_nano` is read from.
    """

    def __init__(  # noqa: PLR0913 # the file, what it keeps, two clocks, how it keeps it
        self,
        path: str | Path,
        budget: LogBudget | None = None,
        *,
        live_bytes: int = LIVE_BYTES,
        journal_bytes: int = JOURNAL_BYTES,
        unix_nano: Callable[[], int] = time.time_ns,
        stamp: Callable[[], int] = monotonic_nano,
    ) -> None:
        self._path = Path(path)
        self._budget = budget or LogBudget()
        self._live_bytes = live_bytes
        self._journal_bytes = journal_bytes
        self._unix_nano = unix_nano
        self._stamp = stamp
        self.turns = Turns(self._write_turn)
        self._closing = False
        self._live: dict[str, LiveEvents] = {}
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
            tail_bytes=self._live_bytes // 2,
            journal_bytes=self._journal_bytes,
        )
        self._reader = await asyncio.to_thread(LogReader, self._path, self._unix_nano)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        self._writing = await asyncio.to_thread(Writing, self._path, self._writer, self._on_commit)
        for info in await self._ask(self._reader.open_runs):
            # Lost by a core before: whoever follows them waits for the reaper.
            self._live[info.record.run_id] = LiveEvents(info.last, self._live_bytes)

    async def aclose(self) -> None:
        """Write what is under way, and close the file."""
        self._closing = True
        await self.turns.aclose()
        await asyncio.to_thread(self._reading.shutdown)
        self._reader.close_file()
        await asyncio.to_thread(self._writing.close)

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
        if append.end is None or self._closing:
            self.turns.submit(append, on_answer)
        else:
            self._submit_end(append, on_answer)

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
                return _with_newest(batch, live, max_events, max_bytes)
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

        def on_done(answer: Any) -> None:
            if done.done():
                return  # The one who asked was cancelled.
            if isinstance(answer, Exception):
                done.set_exception(answer)
            else:
                done.set_result(answer)

        self._writing.put(Job(do, on_done))
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

    def _submit_end(self, append: Append, on_answer: OnAnswer) -> None:
        """Write the end of a run beside the turns: these do not wait for the statements that it needs."""
        began_nano = monotonic_nano()

        def on_done(answer: Appended | Exception) -> None:
            self.turns.on_duration(monotonic_nano() - began_nano)
            on_answer(answer)

        self._writing.put(Job(partial(self._writer.write, append), on_done))

    def _write_turn(self, turn: list[Append]) -> None:
        """Write a turn: at once, or by the store's thread."""
        written = self._writing.write_at_once(turn)
        if written is None:
            self._writing.put(Job(partial(self._writer.write_turn, turn), self.turns.answered))
        else:
            answers, changes = written
            self._apply(changes)
            self.turns.answered(answers)

    def _on_commit(self, changes: Changes, done: Sequence[tuple[Job, Any]]) -> None:
        """Tell the event loop what was committed. Called in the store's thread."""
        self._loop.call_soon_threadsafe(self._committed, changes, done)

    def _committed(self, changes: Changes, done: Sequence[tuple[Job, Any]]) -> None:
        """Tell those who read and those who write what was committed."""
        self._apply(changes)
        for job, answer in done:
            try:
                job.on_done(answer)
            except Exception:  # The others must have their answers.
                logger.exception("an answer of the log could not be taken: this is a bug of the core")

    def _apply(self, changes: Changes) -> None:
        """Tell those who read what was committed."""
        for run_id, change in changes.items():
            if change.created:
                self._live[run_id] = LiveEvents(START, self._live_bytes)
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


def _with_newest(batch: Batch, live: LiveEvents, max_events: int, max_bytes: int) -> Batch:
    """Return what the file has of an open run together with what is in memory alone.

    Raises:
        LogGoneError: The run was forgotten meanwhile.
    """
    end, room = batch.first + len(batch.events) - 1, max_events - len(batch.events)
    if end < live.trimmed or not room:
        return batch._replace(last=max(batch.last, live.last))
    newest = live.slice(end, room, max_bytes)
    events = fitting([*batch.events, *newest.events], max_bytes)
    complete = newest.complete and batch.first + len(events) > newest.last.sequence
    return Batch(batch.first, events, complete, max(batch.last, newest.last))
