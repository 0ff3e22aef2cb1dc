"""One follow of a link: its credit, what it reads from, and its span.

There may be ten thousand of them, most of them silent: each is a few small objects, without a task, a future
or a timer of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from opentelemetry import trace

from agent_core.rpc.link.codec import follow_fields
from agent_core.runs.follower import MAX_EVENTS, Follower, FollowItem, NotHere
from tokenwire.v1.link_pb2 import FollowCredit

SLICE_BYTES: Final = 64 * 1024
"""The most bytes of events that one follow puts into a message at a time: a backlog takes turns with the
others, and a sixteenth of a message is what its follower's store is asked for at once."""

Mark: TypeAlias = Callable[["LinkFollow"], None]
"""Is called when there may be something to send for a follow."""


class LinkFollow:
    """What is known of one follow, from the request on.

    Args:
        follow_id: The edge's name for it.
        method: The full name of the call that it stands for.
        span: The span of that call.
        credit: How much may be sent at first.
        mark: Called when there may be something to send.
    """

    __slots__ = (
        "_head",
        "events",
        "follower",
        "given",
        "has_place",
        "id",
        "is_closed",
        "is_live",
        "is_named",
        "is_over",
        "left_by_itself",
        "mark",
        "method",
        "opening",
        "principal",
        "queued",
        "reading",
        "run_id",
        "size_bytes",
        "span",
        "timer",
    )

    def __init__(
        self, follow_id: int, method: str, span: trace.Span, credit: FollowCredit, mark: Mark
    ) -> None:
        self.id = follow_id
        self.method = method
        self.span = span
        self.mark = mark
        self.events = credit.events
        """The credit in events."""
        self.size_bytes = credit.bytes
        """The credit in bytes of encoded events; negative where the last event took more than was left."""
        self._head = b""
        self.principal = ""
        """On whose behalf it is."""
        self.run_id = ""
        self.has_place = False
        """Whether it counts among the follows that there may be."""
        self.follower: Follower | None = None
        """What it reads from, once it is open."""
        self.opening: asyncio.Task[None] | None = None
        """Opens it."""
        self.reading: asyncio.Task[None] | None = None
        """Reads the store for it, where what comes next is not in memory."""
        self.given: FollowItem | BaseException | None = None
        """What that task has brought."""
        self.queued = False
        """Whether the writer will look at it."""
        self.is_live = False
        """Whether it has all that there is, as far as it knows: then a batch tells whether there is more."""
        self.is_named = False
        """Whether a batch has told which run it follows."""
        self.is_over = False
        """Whether nothing more may be sent for it."""
        self.is_closed = False
        """Whether what it holds was freed."""
        self.left_by_itself = False
        """How it was ended while it was being opened: whether the one behind the edge has left by itself."""
        self.timer: asyncio.TimerHandle | None = None
        """Ends it at its deadline."""

    @property
    def is_parked(self) -> bool:
        """Whether no event may be sent for it."""
        return self.events <= 0 or self.size_bytes <= 0

    def begin(self) -> None:
        """Send what the follower gives, from now on: looked at once, and whenever there may be something."""
        assert self.follower is not None  # noqa: S101 # it was opened
        self.run_id = self.follower.run_id
        self.follower.notify(self.ready)
        self.ready()

    async def stop(self) -> None:
        """Return when nothing is done for it any more."""
        tasks = [task for task in (self.opening, self.reading) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def ready(self) -> None:
        """Have the writer look at it, unless nothing may be sent."""
        if not self.queued and not self.is_parked and not self.is_over and self.reading is None:
            self.queued = True
            self.mark(self)

    def add(self, credit: FollowCredit) -> None:
        """Allow more."""
        self.events += credit.events
        self.size_bytes += credit.bytes
        if self.follower is not None:
            self.ready()

    def head(self) -> bytes:
        """Return what the next batch begins with: the first one names the run."""
        if not self.is_named:
            self.is_named, self._head = True, follow_fields(self.id)
            return follow_fields(self.id, self.run_id)
        return self._head

    def take(self, events: int, size_bytes: int) -> None:
        """Count what was sent."""
        self.events -= events
        self.size_bytes -= size_bytes

    def poll(self) -> FollowItem | Literal[NotHere.NOT_HERE] | None:
        """Return what is to be sent next, within the credit; None for nothing.

        Raises:
            LogGoneError: The log has forgotten the run.
            BaseException: What reading the store has raised.
        """
        given, self.given = self.given, None
        if isinstance(given, BaseException):
            raise given
        if given is not None or self.follower is None:
            return given
        return self.follower.poll(*self._limits())

    def read(self) -> None:
        """Read the store, and be ready then."""
        self.reading = asyncio.create_task(self._read(), name=f"read run {self.run_id}")

    async def _read(self) -> None:
        assert self.follower is not None  # noqa: S101 # only an open follow is read
        try:
            self.given = await self.follower.next(*self._limits())
        except Exception as error:  # noqa: BLE001 # raised again by `poll`, for the writer to tell
            self.given = error
        self.reading = None
        self.ready()

    def _limits(self) -> tuple[int, int]:
        """Return the most events and the most bytes of the next batch."""
        return min(self.events, MAX_EVENTS), min(self.size_bytes, SLICE_BYTES)
