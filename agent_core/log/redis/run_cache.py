"""The runs that this process writes or reads: their newest events in memory.

What is written here comes from the writer. Of other cores' runs it comes by messages, each of which
carries the events of one append: taken when it follows on what is known, read from the log
when it does not. A look at the log each second finds what no message told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from agent_core.log.batch import Batch
from agent_core.log.errors import LogAwayError, LogGoneError
from agent_core.log.live_tail import LiveEvents
from agent_core.log.position import FIRST_EPOCH, Position
from agent_core.log.records import RunInfo, RunRecord
from agent_core.log.redis.keys import Keys
from agent_core.log.redis.messages import Messages
from agent_core.log.redis.records import CLOSED, GONE, decode_hint

LOOK_S: Final = 1.0
"""How often the log is looked at for events that no message told."""

GONE_S: Final = 3.0
"""How long another core's run may be missing before it counts as forgotten: a store that was wiped gets
it again from its writer within about a second."""

BATCH_EVENTS: Final = 512
BATCH_BYTES: Final = 1024 * 1024

logger = logging.getLogger(__name__)


class Followed(NamedTuple):
    """How a run of another core stands in the log."""

    last: Position
    is_published: bool
    """Whether its writer publishes what it appends, as far as the log says."""


class Source(Protocol):
    """The log, to be read."""

    async def read(
        self, run_id: str, after: Position, max_events: int, max_bytes: int, *, follow: bool = False
    ) -> Batch:
        """Return events after a position, and with `follow` have those published that come."""

    async def info(self, run_id: str) -> RunInfo | None:
        """Return what is known of a run."""

    async def followed(self, run_ids: Sequence[str]) -> list[Followed | None]:
        """Return how each run stands; None for one that is not there."""


@dataclass(slots=True, eq=False)
class CachedRun:
    """A run that goes on."""

    hot: LiveEvents
    record: RunRecord | None = None
    """As it was created here; None for another core's run."""
    keys: tuple[bytes, ...] = ()
    """What `turn.lua` is given of a run that is written here."""
    renew_s: float = 0.0
    """When the next append is to renew the keys' time to live, in seconds of the monotonic clock."""
    followed_at: set[str] = field(default_factory=set)
    """The cores that say that they follow a run of this core. Those of an earlier version do not mark it."""
    readers: int = 0
    listening: asyncio.Task[None] | None = None
    """Subscribes, and reads what came before; for another core's run."""
    healing: asyncio.Task[None] | None = None
    heals_again: bool = False
    """Whether there is a reason to heal that is younger than what `healing` has read."""
    missing_since: float | None = None


class RunCache:
    """The runs of one process.

    Args:
        source: The log.
        messages: What is heard of appends.
        keys: The names of the keys.
        live_bytes: How much of a run is kept in memory.
        has_shares: Whether what is kept for a run's owner is counted.
    """

    def __init__(
        self, source: Source, messages: Messages, keys: Keys, *, live_bytes: int, has_shares: bool
    ) -> None:
        self._source = source
        self._messages = messages
        self._keys = keys
        self._live_bytes = live_bytes
        self._has_shares = has_shares
        self._runs: dict[str, CachedRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to look at the log."""
        self._spawn(self._look(), "redis look")

    async def aclose(self) -> None:
        """Stop looking."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def write(self, record: RunRecord, last: Position) -> None:
        """Take note that this process writes a run from now on.

        Args:
            record: The run.
            last: The last event of its log.
        """
        known = self._runs.get(record.run_id)
        if known is None:
            known = self._runs[record.run_id] = CachedRun(LiveEvents(last, self._live_bytes))
        keys = self._keys
        names = [keys.meta(record.run_id), keys.log(record.run_id)]
        if self._has_shares:
            names.append(keys.owner(record.owner))
        known.record = record
        known.keys = tuple(name.encode() for name in names)

    def own(self, run_id: str) -> CachedRun | None:
        """Return a run that is written here; None for others."""
        known = self._runs.get(run_id)
        return known if known is not None and known.record is not None else None

    def set_followers(self, run_id: str, core: str, followers: int) -> None:
        """Take note that a core follows a run of this one, or does not any more.

        Args:
            run_id: The run.
            core: The other core.
            followers: How many follow the run there.
        """
        run = self.own(run_id)
        if run is not None and followers:
            run.followed_at.add(core)
        elif run is not None:
            run.followed_at.discard(core)

    def accepted(self, run_id: str, first: int, events: Sequence[bytes], *, closed: bool) -> None:
        """Take in what the log has accepted from the writer here.

        Args:
            run_id: The run.
            first: The number of the first of these events.
            events: Whole encoded Events.
            closed: The last of them is the terminal event.
        """
        known = self._runs.get(run_id)
        if known is None:
            return
        following = known.hot.trimmed + len(known.hot.events) + 1
        if first == following and not closed:
            known.hot.apply(events)  # Nearly all there are.
        elif events and first > following:
            self._heal(run_id, known)
        else:
            self._apply(run_id, known, first, events, closed=closed)

    async def read(self, run_id: str) -> tuple[LiveEvents | None, Callable[[], None]]:
        """Return a run's newest events (None: it has ended), and what its reader has to call in the end.

        Raises:
            LogGoneError: There is no such run.
            LogAwayError: The log can't be read.
        """
        known = self._runs.get(run_id)
        if known is None:
            info = await self._source.info(run_id)
            if info is None:
                raise LogGoneError
            if info.outcome is not None:
                return None, lambda: None
            known = self._runs.setdefault(run_id, CachedRun(LiveEvents(info.last, self._live_bytes)))
        known.readers += 1
        left = self._leaver(run_id, known)
        if known.record is None:
            if known.listening is None:
                known.listening = self._spawn(self._listen(run_id, known), f"listen to {run_id}")
            try:
                # Shielded: others may wait for it too.
                await asyncio.shield(known.listening)
            except BaseException:
                left()
                raise
        return known.hot, left

    def give_up(self, run_id: str) -> None:
        """Take note that this process does not write a run any more: what the log says of it holds."""
        known = self._runs.get(run_id)
        if known is None:
            return
        known.record = None
        if known.readers:
            self._heal(run_id, known)
        else:
            self._drop(run_id, known)

    def heal_all(self) -> None:
        """Look at the logs of all other cores' runs: messages may have been missed."""
        for run_id, known in tuple(self._runs.items()):
            if known.record is None:
                self._heal(run_id, known)

    def forget(self, run_id: str) -> None:
        """Tell those who read a run that it was forgotten."""
        known = self._runs.get(run_id)
        if known is not None:
            known.hot.apply((), gone=True)
            self._drop(run_id, known)

    async def _listen(self, run_id: str, known: CachedRun) -> None:
        """Subscribe first, then read: what is appended in between is told, or read, or both."""
        await self._messages.subscribe(
            self._keys.channel(run_id), lambda message: self._heard(run_id, known, message)
        )
        await self._catch_up(run_id, known)

    def _heard(self, run_id: str, known: CachedRun, message: bytes) -> None:
        """Take in what a message tells, where it follows on what is known."""
        try:
            hint = decode_hint(message)
        except ValueError:
            logger.error("the record of run %s can't be read", run_id)  # noqa: TRY400 # no use of a traceback
            return
        last = known.hot.last
        if hint.flags & GONE:
            self.forget(run_id)
        elif not hint.events or hint.first > last.sequence + 1 or hint.epoch != last.epoch:
            # Missed something, too large for a message, or a reaper's: the log itself says what holds.
            self._heal(run_id, known)
        else:
            self._apply(run_id, known, hint.first, hint.events, closed=bool(hint.flags & CLOSED))

    def _apply(  # noqa: PLR0913 # a run, and a batch of it
        self,
        run_id: str,
        known: CachedRun,
        first: int,
        events: Sequence[bytes],
        *,
        epoch: int = FIRST_EPOCH,
        closed: bool,
    ) -> None:
        """Add what follows on what is known, and pass over the rest."""
        fresh = events[max(0, known.hot.last.sequence + 1 - first) :]
        known.missing_since = None
        known.hot.apply(fresh, epoch=epoch, closed=closed)
        if closed:
            self._drop(run_id, known)

    def _heal(self, run_id: str, known: CachedRun) -> None:
        """See to it that the log is read, once more where that is under way."""
        known.heals_again = True
        if known.healing is None or known.healing.done():
            known.healing = self._spawn(self._healed(run_id, known), f"heal {run_id}")

    async def _healed(self, run_id: str, known: CachedRun) -> None:
        """Read what is not known, as far as the log can be read."""
        try:
            while known.heals_again:
                known.heals_again = False
                await self._catch_up(run_id, known)
        except LogAwayError:
            return  # The next look finds it.

    async def _catch_up(self, run_id: str, known: CachedRun) -> None:
        """Read what is not known.

        Raises:
            LogAwayError: The log can't be read.
        """
        while not known.hot.closed and not known.hot.gone:
            last = known.hot.last
            try:
                # In this order: what is appended after the subscription is published, or read here.
                follow = known.record is None and known.listening is not None
                batch = await self._source.read(run_id, last, BATCH_EVENTS, BATCH_BYTES, follow=follow)
            except LogGoneError:
                self._missing(run_id, known)
                return
            if known.hot.last != last:
                continue  # Something was told in the meantime.
            known.missing_since = None
            events = batch.events
            lost = batch.last.epoch > last.epoch and batch.last.sequence <= last.sequence
            if lost or (events and batch.first != last.sequence + 1):
                # The log lacks what was known, or has dropped what comes next: readers look for themselves.
                known.hot.restart(batch.last)
                events = ()
            self._apply(run_id, known, batch.first, events, epoch=batch.end.epoch, closed=batch.complete)
            if not events:
                return

    def _missing(self, run_id: str, known: CachedRun) -> None:
        """Take note that a run is not in the log: its writer may still bring it back."""
        if known.record is not None:
            return
        now = time.monotonic()
        if known.missing_since is None:
            known.missing_since = now
        elif now - known.missing_since > GONE_S:
            self.forget(run_id)

    async def _look(self) -> None:
        """Find what no message told."""
        while True:
            await asyncio.sleep(LOOK_S)
            others = [(run_id, known) for run_id, known in self._runs.items() if known.record is None]
            try:
                found = await self._source.followed([run_id for run_id, _ in others])
            except LogAwayError:
                continue  # The lease says so.
            for (run_id, known), state in zip(others, found, strict=True):
                if state is None or state.last != known.hot.last or not state.is_published:
                    self._heal(run_id, known)

    def _leaver(self, run_id: str, known: CachedRun) -> Callable[[], None]:
        """Return what counts a reader out, once."""

        def left() -> None:
            known.readers -= 1
            if not known.readers and known.record is None:
                self._drop(run_id, known)

        return left

    def _drop(self, run_id: str, known: CachedRun) -> None:
        """Keep a run no longer: those who read it go on with what they have."""
        if self._runs.get(run_id) is known:
            del self._runs[run_id]
            if known.listening is not None:
                known.listening = None
                self._spawn(self._messages.unsubscribe(self._keys.channel(run_id)), f"unsubscribe {run_id}")

    def _spawn(self, work: Awaitable[None], name: str) -> asyncio.Task[None]:
        """Return a task that is kept until it is done."""
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
