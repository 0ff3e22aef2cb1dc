"""The model of the stores' state machine: what a run's log must hold, and what its readers were given."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from agent_core.runs.follower import CaughtUp, Follower, Given, Resync
from agent_core.runs.log.contract import Batch, LogGoneError
from tokenwire.v1.event_pb2 import Event

TURNS = 20
"""Turns of the event loop in which something that must not happen gets its chance."""


@dataclass
class Reader:
    """Somebody who follows a run, leaves and comes back, and keeps what it got."""

    run: Run
    follower: Follower
    cursor: int
    task: asyncio.Task[Given | None] | None = None
    finished: bool = False
    terminals: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    async def read(self) -> None:
        """Take what is there; where nothing is, the reader waits on, and takes it later."""
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

    def take(self, given: Given | None) -> None:
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
            for entry in given.entries:
                self.take_event(Event.FromString(entry.event), (entry.epoch, entry.sequence))

    def take_event(self, event: Event, said: tuple[int, int]) -> None:
        """Check that an event is the next one, and the one that was written."""
        run = self.run
        assert (event.epoch, event.sequence) == said
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
