"""One run's log in memory, and its readers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Final

from agent_core.runs.log.budget import beyond_floor
from agent_core.runs.log.contract import (
    FIRST_EPOCH,
    START,
    Batch,
    Entry,
    LogGoneError,
    Position,
    RunInfo,
    RunRecord,
)
from agent_core.runs.outcome import Outcome

ENTRY_OVERHEAD_BYTES: Final = 160
"""What an entry costs in memory besides its event: measured with sys.getsizeof on CPython 3.11
(a tuple of three, a bytes object's header, an int)."""

RUN_OVERHEAD_BYTES: Final = 2 * 1024
"""What a run costs in memory besides its entries."""


@dataclass(slots=True, eq=False)
class MemoryRun:
    """One run's log."""

    record: RunRecord
    message: bytes = b""
    """What the user said, in UTF-8: text in memory may take four times as much."""
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
    waiting: dict[MemoryTail, asyncio.Future[None]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """What it costs in memory, about."""
        return (
            RUN_OVERHEAD_BYTES
            + len(self.message)
            + self.event_bytes
            + ENTRY_OVERHEAD_BYTES * len(self.entries)
        )

    @property
    def beyond_bytes(self) -> int:
        """What the message needs beside the shortest ring."""
        return beyond_floor(len(self.message))

    @property
    def last(self) -> Position:
        """The last event."""
        return Position(*self.entries[-1][:2]) if self.entries else START

    @property
    def info(self) -> RunInfo:
        """What is known of the run."""
        return RunInfo(
            record=self.record,
            first=Position(*self.entries[0][:2]) if self.entries else Position(FIRST_EPOCH, 1),
            last=self.last,
            outcome=self.outcome,
            end_unix_nano=self.end_unix_nano,
            expire_unix_nano=self.expire_unix_nano,
        )

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


def memory_run(record: RunRecord) -> MemoryRun:
    """Return an empty log for a run."""
    return MemoryRun(replace(record, message=""), record.message.encode())


class MemoryTail:
    """A reader of one run's log."""

    def __init__(self, log: MemoryRun, after: Position, max_events: int, max_bytes: int) -> None:
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


def _cut(entries: list[Entry], max_bytes: int) -> list[Entry]:
    """Return the first of some entries that fit, one at least."""
    total = 0
    for index, entry in enumerate(entries):
        total += len(entry.event)
        if total > max_bytes:
            return entries[: max(1, index)]
    return entries
