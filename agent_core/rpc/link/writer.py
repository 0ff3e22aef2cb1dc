"""The writer of a link: one task, which sends what became ready in a turn of the event loop as one message.

No timer waits for more, and nothing is held back in buffers: what is not sent yet stays in the log. Follows
that have something to send stand in a queue, each once; a long backlog takes turns with the others.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from agent_core.log.batch import Batch
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
    """Writes the messages of one link.

    Args:
        write: Sends a message.
        refusals: Turns failures into refusals.
        close: Called with each follow that ends with a message.
    """

    def __init__(self, write: Callable[[bytes], Awaitable[None]], refusals: Refusals, close: Close) -> None:
        self._write = write
        self._refusals = refusals
        self._close = close
        self._encoder = MessageEncoder(clock_id())
        self._queue: deque[LinkFollow] = deque()
        self._waiting: deque[bytes] = deque()
        self._ended_in_queue = 0
        self._room = asyncio.Event()
        self._room.set()
        self._wake = asyncio.Event()
        self._draining = self._beats = False
        self._written_nano = monotonic_nano()

    def mark(self, follow: LinkFollow) -> None:
        """Look at a follow in the next turn. It is not in the queue yet."""
        self._queue.append(follow)
        self._wake.set()

    def enqueue(self, batch: bytes) -> None:
        """Send a batch in the next message, whatever else is ready.

        Args:
            batch: A field of a LinkResponse.
        """
        self._waiting.append(batch)
        self._update_room()
        self._wake.set()

    def count_ended(self) -> None:
        """Count a follow that has ended while it is in the queue."""
        self._ended_in_queue += 1
        self._update_room()

    async def wait_for_room(self) -> None:
        """Return once less than `MAX_WAITING` waits to be sent."""
        await self._room.wait()

    def drain(self) -> None:
        """Announce that the core shuts down, in the next message."""
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
        """Drop what was to be sent, and the callback that closes follows: the link is over.

        Else a cycle would wait for a collection, with whatever the queue holds.
        """
        self._close = _closed
        self._queue.clear()
        self._waiting.clear()

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
            finished: Asked whenever there is nothing to send: whether it is over.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue or self._waiting or self._draining or self._beats:
                beats, fields = self._beats, await self._fields()
                if fields or beats:
                    await self._send(fields)
            if finished():
                return

    async def _send(self, fields: list[bytes]) -> None:
        now = monotonic_nano()
        lag_nano = loop_lag().lag_within(self._written_nano, now)
        self._written_nano = now
        reported_nano = lag_nano if lag_nano > LAG_TOLD_NANO else 0
        await self._write(self._encoder.message(fields, now, time.time_ns(), reported_nano))

    async def _fields(self) -> list[bytes]:
        """Return the fields of the next message; none for a heartbeat."""
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
        while self._waiting and (not batches or len(self._waiting[0]) <= room):
            batches.append(self._waiting.popleft())
            room -= len(batches[-1])
        while self._queue and room > SLICE_BYTES:
            follow = self._queue.popleft()
            follow.queued = False
            if follow.is_over:
                self._ended_in_queue -= follow.is_closed
                continue
            batch, code = self._batch(follow)
            if code is not None:
                follow.is_over = True
                over.append((follow, code))
            if len(batch) > room and batches:
                # One large event: alone in the next message.
                self._waiting.appendleft(batch)
                break
            if batch:
                batches.append(batch)
                room -= len(batch)
        self._update_room()
        return batches, over

    def _update_room(self) -> None:
        if len(self._waiting) + self._ended_in_queue < MAX_WAITING:
            self._room.set()
        else:
            self._room.clear()

    def _batch(self, follow: LinkFollow) -> tuple[bytes, str | None]:
        """Return the next batch of a follow, empty for none, and the code that it ends with if it is over."""
        try:
            return self._next_batch(follow)
        except Exception as error:  # noqa: BLE001 # it ends this follow, and is logged
            return self.refusal(follow, error)

    def refusal(self, follow: LinkFollow, error: Exception) -> tuple[bytes, str]:
        """Return the batch that ends a follow with a refusal, and its code. Logs it.

        Args:
            follow: The follow.
            error: What was raised.
        """
        refusal = self._refusals.refusal_of(error, follow.method, follow.span)
        log_id = self._refusals.log(refusal, follow.method, follow.span)
        return refusal_batch(follow_fields(follow.id), refusal, log_id), refusal.code

    @staticmethod
    def _next_batch(follow: LinkFollow) -> tuple[bytes, str | None]:
        """Return the next batch of a follow, empty for none, and the code that it ends with if it is over."""
        given = follow.poll()
        if not isinstance(given, Batch):
            # What comes next is read before it is polled: the log may have gone on since, without a callback.
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
