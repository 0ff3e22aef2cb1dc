"""The newest events of a run in memory, and those who wait for more.

For stores whose events are elsewhere: who reads a live run is served from here, and asks the store
only where he is behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from agent_core.runs.log.contract import START, Batch, Entry, LogGoneError, Position

HOT_BYTES: Final = 128 * 1024
"""What is kept in memory of a live run, at least half of it: about a thousand tokens."""

Read: TypeAlias = Callable[[Position, int, int], Awaitable[Batch]]
"""Reads the store: events after a position, at most so many, of at most so many bytes."""


class HotRun:
    """The newest events of one run.

    Args:
        last: The run's last event, which is not here; what comes after it will be.
        hot_bytes: The most that is kept here.
    """

    def __init__(self, last: Position, hot_bytes: int = HOT_BYTES) -> None:
        self.last = last
        """The run's last event."""
        self.closed = False
        """True when that is the terminal event."""
        self.gone = False
        """True when the run was forgotten."""
        self._hot_bytes = hot_bytes
        self._after = last.sequence  # the number of the event before the first one here
        self._entries: list[Entry] = []
        self.size_bytes = 0
        """The bytes of events that are here."""
        self._waiting: dict[HotTail, asyncio.Future[None]] = {}

    def apply(
        self, entries: Sequence[Entry], *, first: int = 0, closed: bool = False, gone: bool = False
    ) -> None:
        """Take in what the store has accepted, and wake those who wait.

        Args:
            entries: They follow on `last`.
            first: The first event that the store still holds; those before it are dropped here too.
            closed: The last of them is the terminal event.
            gone: The run was forgotten.
        """
        self._entries += entries
        self.size_bytes += sum(len(entry.event) for entry in entries)
        if entries:
            self.last = Position(*entries[-1][:2])
        self._trim(first)
        self.closed |= closed
        self.gone |= gone
        self._wake()

    def restart(self, last: Position) -> None:
        """Drop everything: the store goes on after another event than was known here.

        Args:
            last: The store's last event.
        """
        self._entries.clear()
        self.size_bytes = 0
        self.last, self._after = last, last.sequence
        self._wake()

    def slice(self, after: int, max_events: int, max_bytes: int) -> Batch | None:
        """Return what comes after a number; None when that is not here any more.

        Raises:
            LogGoneError: The run was forgotten.
        """
        if self.gone:
            raise LogGoneError
        if after < self._after:
            return None
        start = after - self._after
        entries: list[Entry] = []
        for entry in self._entries[start : start + max_events]:
            max_bytes -= len(entry.event)
            if max_bytes < 0 and entries:
                break
            entries.append(entry)
        complete = self.closed and start + len(entries) >= len(self._entries)
        return Batch(entries, complete, self.last)

    def wait(self, tail: HotTail) -> asyncio.Future[None]:
        """Return what is done when something has changed."""
        waiter = self._waiting[tail] = asyncio.get_running_loop().create_future()
        return waiter

    def stop_waiting(self, tail: HotTail) -> None:
        """Forget one who waits: also when he was cancelled, or a silent run would collect those who left."""
        self._waiting.pop(tail, None)

    def wake(self, tail: HotTail) -> None:
        """Let one who waits look again."""
        waiter = self._waiting.get(tail)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _trim(self, first: int) -> None:
        """Drop the oldest events: what the store has dropped, and half of what is too much."""
        keep_bytes = self._hot_bytes // 2 if self.size_bytes > self._hot_bytes else self.size_bytes
        count = min(len(self._entries), max(0, first - 1 - self._after))
        left = self.size_bytes - sum(len(entry.event) for entry in self._entries[:count])
        while left > keep_bytes and count < len(self._entries) - 1:
            left -= len(self._entries[count].event)
            count += 1
        del self._entries[:count]
        self.size_bytes = left
        self._after += count

    def _wake(self) -> None:
        """Let all who wait look again."""
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()


class HotTail:
    """A reader of one run.

    Args:
        read: Reads the store.
        hot: The run's newest events; None for one that has ended.
        after: The number of the last event that the reader has.
        max_events: The most events of one batch.
        max_bytes: The most bytes of one batch.
        on_close: Called when the reader has gone.
    """

    def __init__(  # noqa: PLR0913 # what `tail` is given, and where it found it
        self,
        read: Read,
        hot: HotRun | None,
        *,
        after: int,
        max_events: int,
        max_bytes: int,
        on_close: Callable[[], None],
    ) -> None:
        self._read = read
        self._hot = hot
        self._after = after
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._on_close = on_close
        self._interrupted = False

    async def next(self) -> Batch:
        """Return what comes next; waits when there is nothing."""
        while True:
            batch = await self._batch()
            if batch.entries or batch.complete or self._interrupted:
                self._interrupted = False
                if batch.entries:
                    self._after = batch.entries[-1].sequence
                return batch
            hot = self._hot
            assert hot is not None  # noqa: S101 # only a live run has no end
            if hot.last.sequence > self._after or hot.closed or hot.gone:
                continue  # It went on while the store was read.
            try:
                await hot.wait(self)
            finally:
                hot.stop_waiting(self)

    def interrupt(self) -> None:
        """Let `next` return at once."""
        self._interrupted = True
        if self._hot is not None:
            self._hot.wake(self)

    async def aclose(self) -> None:
        """Let the run be forgotten early again."""
        self._on_close()

    async def _batch(self) -> Batch:
        """Return what there is: from memory, else from the store."""
        if self._hot is not None:
            batch = self._hot.slice(self._after, self._max_events, self._max_bytes)
            if batch is not None:
                return batch
        return await self._read(Position(START.epoch, self._after), self._max_events, self._max_bytes)
