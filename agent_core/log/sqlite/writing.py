"""Writes the file of the store `sqlite:PATH`: in a thread of its own, or in the loop's where that is quick.

A turn that is one row of the journal is written in the loop's thread: it is one `write` into the kernel's
memory, which takes less than two changes from thread to thread. Whatever may wait goes to the store's thread:
what asks the file or writes more than that row, what comes while the thread writes or a checkpoint is under
way, and everything as long as the disk is slow.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from agent_core.log.append import Append, Appended
from agent_core.log.errors import LogAwayError, LogFullError, SessionBusyError
from agent_core.log.sqlite.checkpoints import CHECKPOINT_BYTES, Checkpoints
from agent_core.log.sqlite.runs import Change
from agent_core.log.sqlite.writer import LogWriter
from tokenwire.outage import Repeats

JOBS_AT_ONCE: Final = 256
"""The most jobs of one transaction: turns wait for it."""

SWEEP_S: Final = 30.0
"""How often the store forgets what has expired, empties its journal of what is older than that, and makes a
checkpoint where something was written."""

AGAIN_S: Final = 1.0
"""How long after a failure rows of the journal are deleted again."""

SLOW_S: Final = 0.1
"""What a turn may take in the loop's thread: beyond it the disk is slow, or the processors are too busy."""

SLOW_TOTAL_S: Final = 1.0
SLOW_WITHIN_S: Final = 10.0
"""How much time slow turns may take, and within which: then the thread writes all turns for as long again.
Busy processors do not come to that: to them a thread more would be one that waits more."""

_SLOW: Final = "the run log took %.2f s to write a turn: is its disk slow, or are the processors too busy?"

logger = logging.getLogger(__name__)


class Job(NamedTuple):
    """Something that the thread does in one transaction with what else has come."""

    do: Callable[[], Any]
    on_done: Callable[[Any], None]
    """Called in the event loop with what `do` returned, or with the exception."""


Changes: TypeAlias = dict[str, Change]
"""By run id, what was committed."""

OnCommit: TypeAlias = Callable[[Changes, Sequence[tuple[Job, Any]]], None]
"""Takes what was committed, and the jobs with their answers."""

Aside: TypeAlias = Callable[[], None]
"""What has transactions of its own, or none."""


class Writing:
    """Shares a LogWriter between the event loop and a thread.

    Args:
        path: The file, which the writer has opened.
        writer: Writes it.
        on_commit: Called in the store's thread.
    """

    def __init__(self, path: Path, writer: LogWriter, on_commit: OnCommit) -> None:
        self._writer = writer
        self._on_commit = on_commit
        self._queue: queue.SimpleQueue[Job | Aside | None] = queue.SimpleQueue()
        self._file = threading.Lock()
        """Held by the one who writes."""
        self._written_bytes = 0
        """Since the last checkpoint, about."""
        self._checkpointing = False
        self._tidying = False
        self._tidy_from_s = 0.0
        self._at_once_from_s = self._slow_since_s = self._slow_total_s = 0.0
        self._slow, self._untidy = Repeats(), Repeats()
        self._checkpoints = Checkpoints(path, partial(self.put_aside, self._finish_checkpoint))
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what has come, and close the file."""
        self._queue.put(None)
        self._thread.join()
        self._checkpoints.close()
        self._writer.close_file()

    def put(self, job: Job) -> None:
        """Have a job done."""
        self._queue.put(job)

    def put_aside(self, do: Aside) -> None:
        """Have something done that has transactions of its own, or none, and that no one waits for."""
        self._queue.put(do)

    def write_at_once(self, turn: Sequence[Append]) -> tuple[list[Appended], Changes] | None:
        """Return what became of a turn, and what was committed; None where the thread has to write it."""
        began_s = time.monotonic()
        if self._checkpointing or began_s < self._at_once_from_s or not self._file.acquire(blocking=False):
            return None
        try:
            answers = self._writer.write_alone(turn)
            changes = self._writer.changes
            self._written()
        finally:
            self._file.release()
        took_s = time.monotonic() - began_s
        if took_s > SLOW_S:
            self._note_slow(began_s, took_s)
        return None if answers is None else (answers, changes)

    def _note_slow(self, began_s: float, took_s: float) -> None:
        """Write no turn in the event loop for a while, where too much of its time went that way."""
        if began_s - self._slow_since_s > SLOW_WITHIN_S:
            self._slow_since_s, self._slow_total_s = began_s, 0.0
        self._slow_total_s += took_s
        if self._slow_total_s > SLOW_TOTAL_S:
            self._at_once_from_s = began_s + took_s + SLOW_WITHIN_S
            self._slow.log(logger, logging.WARNING, _SLOW, took_s)

    def _run(self) -> None:
        """Do what comes until the end comes. What came meanwhile goes together."""
        work: list[Job | Aside | None] = []
        next_sweep_s = time.monotonic() + SWEEP_S
        while None not in work:
            work = self._taken(next_sweep_s)
            jobs = [one for one in work if isinstance(one, Job)]
            if jobs:
                self._commit(jobs)
            for do in work:
                if do is not None and not isinstance(do, Job):
                    self._aside(do)
            if time.monotonic() >= next_sweep_s:
                next_sweep_s = time.monotonic() + SWEEP_S
                self._aside(self._sweep)

    def _taken(self, until_s: float) -> list[Job | Aside | None]:
        """Return all that has come; None is the end, after which nothing comes."""
        work: list[Job | Aside | None] = []
        with suppress(queue.Empty):
            work.append(self._queue.get(timeout=max(0.0, until_s - time.monotonic())))
            while len(work) < JOBS_AT_ONCE:
                work.append(self._queue.get_nowait())
        return work

    def _commit(self, jobs: list[Job]) -> None:
        """Do some jobs in one transaction."""
        changes: Changes = {}
        answers: list[Any]
        try:
            with self._file:
                with self._writer.transaction():
                    answers = list(map(_answer, jobs))
                changes = self._writer.changes
                self._written()
        except sqlite3.Error as error:
            answers = [LogAwayError(str(error)) for _ in jobs]
        except Exception as error:  # noqa: BLE001 # a bug: whoever waits must not wait for ever
            answers = [error for _ in jobs]
        self._on_commit(changes, list(zip(jobs, answers, strict=True)))

    def _aside(self, do: Aside) -> None:
        """Do something that no one waits for: it is tried again later where it fails."""
        try:
            with self._file:
                do()
                self._written()
        except sqlite3.Error as error:
            self._untidy.log(logger, logging.WARNING, "the run log could not be tidied up: %s", error)
        except Exception:
            logger.exception("the run log could not be tidied up: this is a bug of the core")

    def _written(self) -> None:
        """Have done what becomes due by what was written."""
        self._written_bytes += self._writer.take_written_bytes()
        if self._written_bytes >= CHECKPOINT_BYTES:
            self._begin_checkpoint()
        if not self._tidying and self._writer.journal.overdue and time.monotonic() >= self._tidy_from_s:
            self._tidying = True
            self.put_aside(self._tidy)

    def _tidy(self) -> None:
        """Move what keeps rows of the journal, and delete those that are free."""
        self._tidy_from_s = time.monotonic() + AGAIN_S
        try:
            self._writer.tidy()
        finally:
            self._tidying = False
        self._tidy_from_s = 0.0

    def _sweep(self) -> None:
        """Forget what has expired, empty the journal of what is old, and begin a checkpoint."""
        with self._writer.transaction():
            self._writer.sweep()
        self._on_commit(self._writer.changes, ())
        self._writer.journal.age()
        if self._written_bytes:
            self._begin_checkpoint()

    def _begin_checkpoint(self) -> None:
        """Have a checkpoint made, unless one is under way."""
        if not self._checkpointing:
            self._checkpointing = True
            self._checkpoints.begin()

    def _finish_checkpoint(self) -> None:
        """Move into the file what was written during the long checkpoint."""
        try:
            self._writer.finish_checkpoint()
        finally:
            self._writer.take_written_bytes()
            self._written_bytes = 0
            self._checkpointing = False


def _answer(job: Job) -> Any:
    """Do a job in the open transaction. Return the answer, or the refusal."""
    try:
        return job.do()
    except (LogFullError, SessionBusyError) as error:
        return error
