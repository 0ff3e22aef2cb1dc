"""One follower of one run: the log's events and, between them, the controls."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple, TypeAlias

from agent_core.log.contract import FIRST_EPOCH, Batch, LogAwayError, Position, RunInfo, Tail

MAX_EVENTS: Final = 512
"""The most events of one response."""

MAX_BYTES: Final = 1024 * 1024 - 8 * 1024
"""The most bytes of events of one response: 1 MiB less what the response itself needs, of which
512 events take 4 bytes each."""


AWAY_RETRY_S: Final = 0.25
"""How often a log that is away is asked again."""


class CaughtUp(NamedTuple):
    """All that was in the log when the follow began has been given, and the run goes on."""

    cursor: Position


class Resync(NamedTuple):
    """The log can't go on at the reader's cursor: what follows begins at `first`."""

    first: Position
    last: Position
    reason: str
    """ "ahead" or "trimmed"."""


class Draining(NamedTuple):
    """The core is going down."""


class Degraded(NamedTuple):
    """The log is away: the run goes on, and what it says comes later."""


class FollowRequest(NamedTuple):
    """A request to follow a run."""

    run_id: str
    owner: str
    """The principal that asks."""
    after: Position
    """The last event that the reader has."""
    relay: bool
    """It passes the events on to somebody else."""
    say_caught_up: bool
    """Tell when the replay has met the live end."""
    max_bytes: int = MAX_BYTES
    """The most bytes of events that are read from the store at once."""


FollowItem: TypeAlias = Batch | CaughtUp | Resync | Draining | Degraded


class NotHere(enum.Enum):
    """What comes next is not in memory."""

    NOT_HERE = "not here"


NOT_HERE: Final = NotHere.NOT_HERE
"""What comes next is not in memory: `Follower.next` has to wait for it."""

Start: TypeAlias = tuple[Position, Resync | None]


def start_of(info: RunInfo, after: Position) -> Start:
    """Return where a reader begins to read, and what it is told when that is not at its cursor.

    Args:
        info: What the log holds.
        after: The last event that the reader has.
    """
    before_first = Position(info.first.epoch, info.first.sequence - 1)
    ahead = after.epoch > info.last.epoch or after.sequence > info.last.sequence
    # Of a lost writer the log may lack the last events, which this reader has: the terminal event,
    # the only one of its epoch, then has a number that the reader has already.
    ahead = ahead or (after.epoch < info.last.epoch and after.sequence == info.last.sequence)
    if ahead:
        return before_first, Resync(info.first, info.last, "ahead")
    if after.sequence < before_first.sequence:
        return before_first, Resync(info.first, info.last, "trimmed")
    return after, None


class OpenTail(NamedTuple):
    """A place in a log from which a follower reads."""

    tail: Tail
    """Reads from where `start` says."""
    info: RunInfo
    """What the log held at that moment."""
    start: Start
    """From `start_of`."""


class Follower:
    """Reads one run for one client: by `next`, which waits, or by `poll` whenever `notify` says so. Close it.

    Args:
        opened: Where it begins to read.
        reopen: Opens the log again after a position, for a reader that has what the log has lost.
        say_caught_up: Tell when the replay has met the live end.
        on_close: Called once, when the follower has gone.
    """

    def __init__(
        self,
        opened: OpenTail,
        *,
        reopen: Callable[[Position], Awaitable[OpenTail]],
        say_caught_up: bool,
        on_close: Callable[[Follower], None],
    ) -> None:
        self.run_id = opened.info.record.run_id
        self.finished = False
        """True when the terminal event has been given."""
        self.client_left = False
        """Set before `aclose` where the one behind a relay has left by itself."""
        self._reopen = reopen
        self._due: list[FollowItem] = []
        self._held: Batch | None = None
        self._callback: Callable[[], None] | None = None
        self._open(opened)
        self._last = opened.info.last
        self._say_caught_up = say_caught_up and opened.info.outcome is None
        self._degraded = False
        self._on_close = on_close
        self._closed = False

    def _open(self, opened: OpenTail) -> None:
        """Read from a place on."""
        self._tail = opened.tail
        self._tail.notify(self._callback)
        self._cursor, resync = opened.start
        if resync is not None:
            self._due.append(resync)

    async def next(self, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> FollowItem | None:
        """Return what the client is to be told next; None after the terminal event.

        Args:
            max_events: The most events of it; 1 or more.
            max_bytes: The most bytes of events of it, but for the first.

        Raises:
            LogGoneError: The log has forgotten the run.
        """
        while not self.finished:
            if (control := self._control()) is not None:
                return control
            try:
                batch = await self._batch()
            except LogAwayError:
                if not self._degraded:
                    self._degraded = True
                    return Degraded()
                await asyncio.sleep(AWAY_RETRY_S)
                continue
            if batch is not None and (given := self._given(batch, (max_events, max_bytes))) is not None:
                return given
        return None

    def poll(
        self, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES
    ) -> FollowItem | Literal[NotHere.NOT_HERE] | None:
        """Return what the client is to be told next, without waiting; not while `next` is under way.

        Call it again until it returns None: nothing is to be told at the moment, or all was (see `finished`).
        NOT_HERE where the log has to be read for it, or was away: `next` does.

        Args:
            max_events: The most events of it; 0 for controls only.
            max_bytes: The most bytes of events of it, but for the first.

        Raises:
            LogGoneError: The log has forgotten the run.
        """
        if self.finished:
            return None
        if (self._due or self._say_caught_up) and (control := self._control()) is not None:
            return control
        if max_events < 1:
            return None
        held, self._held = self._held, None
        batch = held or self._tail.poll(max_events, max_bytes)
        if batch is None:
            return NOT_HERE
        if self._is_lost(batch):
            self._held = batch
            return NOT_HERE
        return self._given(batch, (max_events, max_bytes) if held is not None else None)

    def notify(self, callback: Callable[[], None] | None) -> None:
        """Have something called whenever `poll` may return something else than before.

        Called in the turn of the event loop in which something came, each time, and perhaps for nothing;
        also when the log was closed or forgotten, and when a control is due. Not called for what is there
        already: poll once after this. Ends with `aclose`.

        Args:
            callback: It must not raise, nor wait; None for nothing more.
        """
        self._callback = callback
        self._tail.notify(callback)

    def _control(self) -> FollowItem | None:
        """Return the control that is due."""
        if self._due:
            return self._due.pop(0)
        if self._say_caught_up and self._cursor >= self._last:
            self._say_caught_up = False
            return CaughtUp(self._cursor)
        return None

    async def _batch(self) -> Batch | None:
        """Return what comes next; None when the log had to be opened again.

        Raises:
            LogAwayError: The log can't be read now.
        """
        batch, self._held = self._held or await self._tail.next(), None
        if self._is_lost(batch):
            self._held = batch
            opened = await self._reopen(self._cursor)
            self._held = None
            await self._tail.aclose()
            self._open(opened)
            return None
        return batch

    def _is_lost(self, batch: Batch) -> bool:
        """Return whether a reaper wrote the end where the log had lost what this reader has."""
        last, cursor = batch.last, self._cursor
        return last.epoch > cursor.epoch and last.sequence <= cursor.sequence

    def _given(self, batch: Batch, most: tuple[int, int] | None) -> FollowItem | None:
        """Return what a batch means for the client; None when it says nothing.

        Args:
            batch: What comes next in the log.
            most: How many events and bytes of it may be given; None where it has no more.
        """
        if batch.events:
            if batch.first != self._cursor.sequence + 1:
                return self._resync(batch)
            if most is not None:
                batch, self._held = batch.split(*most)
            self._cursor = batch.end
            self._degraded = False
        if batch.complete:
            self.finished = True
            self._say_caught_up = False
        return batch if batch.events else None

    def _resync(self, batch: Batch) -> Resync:
        """Return the word that the log was trimmed past this reader, and hold what it goes on with."""
        self._held = batch
        self._cursor = Position(FIRST_EPOCH, batch.first - 1)
        return Resync(batch.begin, batch.last, "trimmed")

    def drain(self) -> None:
        """Tell the client, at the next occasion, that the core is going down."""
        self._due.append(Draining())
        self._tail.interrupt()

    def degrade(self) -> None:
        """Tell the client, once until something comes again, that the log is away."""
        if not self._degraded:
            self._degraded = True
            self._due.append(Degraded())
            self._tail.interrupt()

    async def aclose(self) -> None:
        """Free what the follower holds. A repetition does nothing."""
        if self._closed:
            return
        self._closed = True
        self._callback = None  # It may hold what holds this follower: a cycle would wait for a collection.
        try:
            await self._tail.aclose()
        finally:
            self._on_close(self)
