"""The events of a run that are in memory, and those who read them.

For stores whose events are elsewhere these are the newest ones: who reads a live run is served from
here, and asks the store only where he is behind.

Events are bytes in a list, which the garbage collector does not track: however long a log grows, no
collection looks at it. What else is to be known of an event follows from its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from agent_core.log.batch import Batch, fitting
from agent_core.log.errors import LogGoneError
from agent_core.log.position import FIRST_EPOCH, START, Position

LIVE_BYTES: Final = 128 * 1024
"""What is kept in memory of a live run whose events are in a store, at least half of it: about a thousand
tokens."""

Read: TypeAlias = Callable[[Position, int, int], Awaitable[Batch]]
"""Reads the store: events after a position, at most so many, of at most so many bytes."""


class LiveEvents:
    """The events of one run that are in memory: all of it up to its last one.

    Args:
        last: The event before the first one that is to come here.
        live_bytes: The most that `apply` keeps here.
    """

    __slots__ = (
        "_live_bytes",
        "closed",
        "epoch",
        "event_bytes",
        "events",
        "gone",
        "listening",
        "trimmed",
        "waiting",
    )

    def __init__(self, last: Position = START, live_bytes: int = LIVE_BYTES) -> None:
        self._live_bytes = live_bytes
        self.epoch = last.epoch
        """The last event's."""
        self.events: list[bytes] | tuple[bytes, ...] = []
        """Whole encoded Events, in order. A tuple where nothing more comes: the collector does not even look
        at what that holds."""
        self.trimmed = last.sequence
        """The number of the event before the first one here."""
        self.event_bytes = 0
        """The bytes of events that are here."""
        self.closed = False
        """True when the last event is the terminal one."""
        self.gone = False
        """True when the run was forgotten."""
        self.waiting: dict[LiveTail, asyncio.Future[None]] = {}
        """Those whose `next` is under way."""
        self.listening: dict[LiveTail, Callable[[], None]] = {}
        """Those who have asked to be told."""

    @property
    def last(self) -> Position:
        """The run's last event."""
        return Position(self.epoch, self.trimmed + len(self.events))

    def slice(self, after: int, max_events: int, max_bytes: int) -> Batch:
        """Return what comes after a number, from the first event here on where that is trimmed.

        Raises:
            LogGoneError: The run was forgotten.
        """
        if self.gone:
            raise LogGoneError
        # Dense: the event with number n stands at n - 1 - trimmed.
        trimmed, all_events = self.trimmed, self.events
        start = after - trimmed if after > trimmed else 0
        held = len(all_events)
        events: Sequence[bytes] = all_events[start : start + max_events]
        if len(events) > 1:
            events = fitting(events, max_bytes)
        complete = self.closed and start + len(events) >= held
        return Batch(trimmed + start + 1, events, complete, Position(self.epoch, trimmed + held))

    def add(self, events: Sequence[bytes], epoch: int) -> int:
        """Take events that follow on the last one, unless nothing more may come. Wakes nobody.

        Returns:
            How many bytes they are.

        Args:
            events: Whole encoded Events.
            epoch: The last one's.
        """
        self.events += events  # type: ignore[operator] # a tuple raises: nothing follows an end
        size_bytes = len(events[0]) if len(events) == 1 else sum(map(len, events))
        self.event_bytes += size_bytes
        self.epoch = epoch
        return size_bytes

    def trim(self, max_events: int, max_bytes: int) -> int:
        """Drop the oldest events until the others fit; never the last. Return how many were dropped."""
        events = self.events
        count = max(0, len(events) - max(1, max_events))
        left = self.event_bytes - sum(map(len, events[:count]))
        while left > max_bytes and count < len(events) - 1:
            left -= len(events[count])
            count += 1
        if isinstance(events, list):
            del events[:count]
        else:
            self.events = events[count:]
        self.event_bytes = left
        self.trimmed += count
        return count

    def apply(
        self,
        events: Sequence[bytes],
        *,
        epoch: int = FIRST_EPOCH,
        first: int = 0,
        closed: bool = False,
        gone: bool = False,
    ) -> None:
        """Take in what a store has accepted, keep the newest of it, and wake those who wait.

        Args:
            events: They follow on `last`.
            epoch: The last one's.
            first: The first event that the store still holds; those before it are dropped here too.
            closed: The last of them is the terminal event.
            gone: The run was forgotten.
        """
        if events:
            self.add(events, epoch)
        too_much = self.event_bytes > self._live_bytes
        if too_much or first > self.trimmed + 1:
            # By half at once: dropping costs as much for one event as for many.
            keep_bytes = self._live_bytes // 2 if too_much else self.event_bytes
            self.trim(self.trimmed + len(self.events) + 1 - first, keep_bytes)
        self.closed |= closed
        self.gone |= gone
        self.wake()

    def restart(self, last: Position) -> None:
        """Drop everything: the store goes on after another event than was known here.

        Args:
            last: The store's last event.
        """
        self.events = []
        self.event_bytes = 0
        self.epoch, self.trimmed = last
        self.wake()

    def wake(self) -> None:
        """Let all look again who wait, and those who have asked to be told."""
        if self.waiting:
            for waiter in self.waiting.values():
                if not waiter.done():
                    waiter.set_result(None)
            self.waiting.clear()
        if self.listening:
            for callback in tuple(self.listening.values()):
                callback()


class LiveTail:
    """A reader of one run.

    Args:
        live: What is in memory of the run; None for one that has ended and is in the store alone.
        after: The number of the last event that the reader has.
        max_events: The most events of one batch.
        max_bytes: The most bytes of one batch.
        on_close: Called when the reader has gone.
        read: Reads the store; None where all that there is of the run is in memory.
    """

    def __init__(  # noqa: PLR0913 # what `tail` is given, and where it found it
        self,
        live: LiveEvents | None,
        *,
        after: int,
        max_events: int,
        max_bytes: int,
        on_close: Callable[[], None],
        read: Read | None = None,
    ) -> None:
        self._live = live
        self._after = after
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._on_close = on_close
        self._read = read
        self._interrupted = False
        self._callback: Callable[[], None] | None = None

    async def next(self) -> Batch:
        """Return what comes next; waits when there is nothing."""
        while True:
            batch = self.poll()
            if batch is None:
                batch = await self._stored()
            if batch.events or batch.complete or self._interrupted:
                self._interrupted = False
                return batch
            live = self._live
            assert live is not None  # noqa: S101 # only a live run has no end
            if live.last.sequence > self._after or live.closed or live.gone:
                continue  # It went on while the store was read.
            await self._change(live)

    def poll(self, max_events: int | None = None, max_bytes: int | None = None) -> Batch | None:
        """Return what comes next of what is in memory; None where the store has to be read."""
        live = self._live
        if live is None or (self._read is not None and self._after < live.trimmed and not live.gone):
            return None
        batch = live.slice(self._after, max_events or self._max_events, max_bytes or self._max_bytes)
        if batch.events:
            self._after = batch.first + len(batch.events) - 1
        return batch

    def notify(self, callback: Callable[[], None] | None) -> None:
        """Have something called whenever something has changed."""
        self._callback = callback
        live = self._live
        if live is None:
            return  # What has ended does not change.
        if callback is None:
            live.listening.pop(self, None)
        else:
            live.listening[self] = callback

    def interrupt(self) -> None:
        """Let `next` return at once."""
        self._interrupted = True
        waiter = self._live.waiting.get(self) if self._live is not None else None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._callback is not None:
            self._callback()

    async def aclose(self) -> None:
        """Let the run be forgotten early again."""
        self.notify(None)
        self._on_close()

    async def _stored(self) -> Batch:
        """Return what comes next, from the store."""
        assert self._read is not None  # noqa: S101 # memory alone never says that the store is to be read
        batch = await self._read(Position(START.epoch, self._after), self._max_events, self._max_bytes)
        if batch.events:
            self._after = batch.first + len(batch.events) - 1
        return batch

    async def _change(self, live: LiveEvents) -> None:
        """Return when something has changed."""
        waiter = live.waiting[self] = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            # Also when the reader was cancelled: a silent run must not collect those who left.
            live.waiting.pop(self, None)
