"""The writer of a link: one task, which sends what became ready in a turn of the event loop as one message.

No timer waits for more, and nothing is held back in buffers: what is not sent yet stays in the log. Follows
that have something to say stand in a queue, each once; a long backlog takes turns with the others.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from agent_core.log.contract import Batch
from agent_core.log.encoding import NANO
from agent_core.rpc.link.codec import (
    END,
    MAX_MESSAGE_BYTES,
    MessageEncoder,
    control_batch,
    draining,
    events_batch,
    follow_fields,
    refusal_batch,
)
from agent_core.rpc.link.follow import SLICE_BYTES, LinkFollow
from agent_core.rpc.refusals import Refusals
from agent_core.rpc.responses import LAG_TOLD_NANO
from agent_core.runs.follower import NOT_HERE
from tokenwire.telemetry import clock_id, monotonic_nano
from tokenwire.telemetry.loop_lag import loop_lag

HEAD_BYTES: Final = 1024
"""Room for what a message has besides its batches: the clock takes 42 bytes."""

MAX_WAITING: Final = 1_000
"""How many refusals may wait to be sent, and how many follows that have ended to be skipped. No more requests
are read meanwhile: an edge that asks and does not read would fill the memory."""

Close = Callable[[LinkFollow, str], Awaitable[None]]
"""Frees what a follow holds, and ends its span with the name of a gRPC code."""


class LinkWriter:
    """Writes all that an edge is told.

    Args:
        write: Sends a message.
        refusals: Says what is told of failures.
        close: Called with each follow whose end was told.
    """

    def __init__(self, write: Callable[[bytes], Awaitable[None]], refusals: Refusals, close: Close) -> None:
        self._write = write
        self._refusals = refusals
        self._close = close
        self._encoder = MessageEncoder(clock_id())
        self._queue: deque[LinkFollow] = deque()
        self._said: deque[bytes] = deque()
        self._skipped = 0
        self._room = asyncio.Event()
        self._room.set()
        self._wake = asyncio.Event()
        self._draining = self._beats = False
        self._written_nano = monotonic_nano()

    def mark(self, follow: LinkFollow) -> None:
        """Look at a follow in the next turn. It is not in the queue yet."""
        self._queue.append(follow)
        self._wake.set()

    def say(self, batch: bytes) -> None:
        """Send a batch, whatever is ready.

        Args:
            batch: A field of a LinkResponse.
        """
        self._said.append(batch)
        self._look_for_room()
        self._wake.set()

    def skips(self) -> None:
        """Take note that a follow in the queue has ended."""
        self._skipped += 1
        self._look_for_room()

    async def room(self) -> None:
        """Return once not too much waits to be sent."""
        await self._room.wait()

    def drain(self) -> None:
        """Tell that the core goes down."""
        self._draining = True
        self._wake.set()

    def beat(self, period_s: float) -> None:
        """Send a message, where none was sent since about the beat before.

        Args:
            period_s: The time between two beats.
        """
        # Half of it: the message of the beat before was sent a little after that beat.
        self._beats = monotonic_nano() - self._written_nano >= period_s * NANO / 2
        if self._beats:
            self._wake.set()

    def detach(self) -> None:
        """Forget who closes follows, and what was to be sent: the link is over.

        Else a cycle would wait for a collection, with whatever the queue holds.
        """
        self._close = _closed
        self._queue.clear()
        self._said.clear()

    def wake(self) -> None:
        """See whether there is something to do."""
        self._wake.set()

    async def greet(self, welcome: bytes) -> None:
        """Send the first message.

        Args:
            welcome: A field of a LinkResponse.
        """
        await self._send([welcome])

    async def run(self, finished: Callable[[], bool]) -> None:
        """Send until it is over.

        Args:
            finished: Tells whether it is, whenever there is nothing to send.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue or self._said or self._draining or self._beats:
                beats, fields = self._beats, await self._fields()
                if fields or beats:
                    await self._send(fields)
            if finished():
                return

    async def _send(self, fields: list[bytes]) -> None:
        now = monotonic_nano()
        lag_nano = loop_lag().lag_within(self._written_nano, now)
        self._written_nano = now
        told_nano = lag_nano if lag_nano > LAG_TOLD_NANO else 0
        await self._write(self._encoder.message(fields, now, time.time_ns(), told_nano))

    async def _fields(self) -> list[bytes]:
        """Return what one message tells."""
        batches, over = self._batches()
        for follow, code in over:
            await self._close(follow, code)
        if self._draining:
            batches.append(draining())
        self._draining = self._beats = False
        return batches

    def _batches(self) -> tuple[list[bytes], list[tuple[LinkFollow, str]]]:
        """Return the batches of one message, and the follows that are over with it, each with its code."""
        batches: list[bytes] = []
        over: list[tuple[LinkFollow, str]] = []
        room = MAX_MESSAGE_BYTES - HEAD_BYTES
        while self._said and (not batches or len(self._said[0]) <= room):
            batches.append(self._said.popleft())
            room -= len(batches[-1])
        while self._queue and room > SLICE_BYTES:
            follow = self._queue.popleft()
            follow.queued = False
            if follow.is_over:
                self._skipped -= follow.is_closed
                continue
            batch, code = self._batch(follow)
            if code is not None:
                follow.is_over = True
                over.append((follow, code))
            if len(batch) > room and batches:
                # One large event: alone in the next message.
                self._said.appendleft(batch)
                break
            if batch:
                batches.append(batch)
                room -= len(batch)
        self._look_for_room()
        return batches, over

    def _look_for_room(self) -> None:
        if len(self._said) + self._skipped < MAX_WAITING:
            self._room.set()
        else:
            self._room.clear()

    def _batch(self, follow: LinkFollow) -> tuple[bytes, str | None]:
        """Return the next batch of a follow, empty for none, and the code that it ends with if it is over."""
        try:
            return self._next_batch(follow)
        except Exception as error:  # noqa: BLE001 # what fails ends one follow, and is told
            return self.refusal(follow, error)

    def refusal(self, follow: LinkFollow, error: Exception) -> tuple[bytes, str]:
        """Return the batch that ends a follow with a refusal, and its code. Logs it.

        Args:
            follow: The follow.
            error: What was raised.
        """
        refusal = self._refusals.refusal_of(error, follow.method, follow.span)
        known_as = self._refusals.log(refusal, follow.method, follow.span)
        return refusal_batch(follow_fields(follow.id), refusal, known_as), refusal.code

    @staticmethod
    def _next_batch(follow: LinkFollow) -> tuple[bytes, str | None]:
        """Return the next batch of a follow, empty for none, and the code that it ends with if it is over."""
        given = follow.poll()
        if not isinstance(given, Batch):
            # What comes next was looked up before it is polled: the log may have gone on meanwhile, unheard.
            follow.is_live = False
        if given is NOT_HERE:
            follow.read()
            return b"", None
        assert follow.follower is not None  # noqa: S101 # only an open follow is marked
        finished = follow.follower.finished
        if given is None and not finished:
            follow.is_live = True
            return b"", None
        if given is None or isinstance(given, Batch):
            events = given.events if given is not None else ()
            batch, size_bytes = events_batch(follow.head(), events, END if finished else b"")
            follow.take(len(events), size_bytes)
        else:
            batch = control_batch(follow.head(), given)
        if finished:
            return batch, "OK"
        if not isinstance(given, Batch) or not follow.is_live or _is_behind(given):
            follow.ready()
        return batch, None


async def _closed(follow: LinkFollow, code: str) -> None:
    """Do nothing: the link is over, and all of its follows are closed."""


def _is_behind(batch: Batch) -> bool:
    """Return whether the log has more than a batch."""
    return batch.first + len(batch.events) <= batch.last.sequence
