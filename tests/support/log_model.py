"""The model of the stores' state machine: what a run's log must hold, and what its readers were given."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from agent_core.log.batch import Batch
from agent_core.log.errors import LogGoneError
from agent_core.runs.follower import CaughtUp, Follower, FollowItem, NotHere, Resync
from tokenwire.v1.event_pb2 import Event

TURNS = 20
"""Turns of the event loop in which something that must not happen gets its chance."""


@dataclass
class Reader:
    """Somebody who follows a run, leaves and comes back, and keeps what it got."""

    run: Run
    follower: Follower
    cursor: int
    polls: tuple[int, int] | None = None
    """How many events and bytes it takes at once, as a link does that polls; None for one that waits."""
    task: asyncio.Task[FollowItem | None] | None = None
    finished: bool = False
    terminals: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        if self.polls is not None:
            self.follower.notify(self.news.set)

    def follow(self, follower: Follower) -> None:
        """Go on with another follower, which begins at the cursor."""
        self.follower = follower
        self.__post_init__()

    async def read(self) -> None:
        """Take what is there; where nothing is, the reader waits on, and takes it later."""
        if self.polls is None or self.task is not None or not await self.polled(*self.polls):
            await self.awaited()

    async def polled(self, max_events: int, max_bytes: int) -> bool:
        """Take what is in memory; False where the log has to be read."""
        while True:
            self.news.clear()
            given = self.follower.poll(max_events, max_bytes)
            if isinstance(given, NotHere):
                self.seen["not here"] += 1
                return False
            if given is not None or self.follower.finished:
                self.seen["polled"] += 1
                self.take(given)
                return True
            if not self.run.closed and self.cursor >= len(self.run.texts):
                return True
            await self.news.wait()  # Redis may tell of it a little later.

    async def awaited(self) -> None:
        """Take what comes next, or leave a task that waits for it."""
        task = self.task = self.task or asyncio.create_task(self.follower.next())
        if not self.run.closed and self.cursor >= len(self.run.texts):
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if not task.done():
                return
        given = await task
        self.task = None
        self.take(given)

    async def leave(self, *, gone: bool = False) -> None:
        """Read no longer; where the run was forgotten, the one who waits must be woken."""
        task, self.task = self.task, None
        if task is not None and gone:
            with suppress(LogGoneError):
                self.take(await task)
        elif task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self.follower.aclose()

    def take(self, given: FollowItem | None) -> None:
        """Check what the follower was given."""
        run = self.run
        self.seen[given.reason if isinstance(given, Resync) else type(given).__name__] += 1
        if given is None:
            assert self.finished
        elif isinstance(given, Resync):
            # The log's end when the reader met the hole, which may be a while ago.
            assert given.first.sequence - 1 <= given.last.sequence <= len(run.texts)
            if given.reason == "trimmed":
                assert given.first.sequence > self.cursor + 1
            else:
                assert given.reason == "ahead"
            self.cursor = given.first.sequence - 1
        elif isinstance(given, CaughtUp):
            assert given.cursor.sequence == self.cursor
        else:
            assert isinstance(given, Batch)
            for place, encoded in enumerate(given.events, 1):
                self.take_event(Event.FromString(encoded))
                if place == len(given.events):
                    assert (self.run.epoch if self.finished else 1, self.cursor) == given.end

    def take_event(self, event: Event) -> None:
        """Check that an event is the next one, and the one that was written."""
        run = self.run
        assert event.sequence == self.cursor + 1
        assert not self.finished, "an event came after the terminal one"
        assert event.text_delta.content == run.texts[event.sequence - 1]
        self.cursor = event.sequence
        if run.closed and event.sequence == len(run.texts):
            self.terminals += 1
            self.finished = True
            assert event.epoch == run.epoch


@dataclass
class Run:
    """What a run's log must hold, trimmed or not."""

    run_id: str
    epoch: int = 1
    texts: list[str] = field(default_factory=list)
    closed: bool = False
    expire_unix_nano: int = 0
    first: int = 1
    readers: list[Reader] = field(default_factory=list)
