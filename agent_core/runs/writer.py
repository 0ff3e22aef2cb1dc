"""Writes one run's events to the log: in order, none twice, none left out.

Commits in groups without a timer: what is handed over while the log is idle is appended at once;
what comes while an append is under way waits for it, and goes together as the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

from agent_core.log.budget import ring_target
from agent_core.log.contract import (
    FIRST_EPOCH,
    Appended,
    AppendStatus,
    End,
    Exchange,
    LogAwayError,
    RunLog,
    RunRecord,
)
from agent_core.log.outcome import Outcome
from tokenwire.outage import Repeats

MAX_PENDING_BYTES: Final = 256 * 1024
"""How much may wait for the log before the agent has to: a few thousand tokens."""

RETRY_FIRST_S: Final = 0.05
RETRY_MOST_S: Final = 1.0
"""How long after a failed append the next one is tried: twice as long each time, to a second."""

RING_BYTES: Final = 4 * 1024 * 1024
"""How much of what was accepted is kept where the log may lose it: as much as it keeps of a run itself."""

PATIENCE_S: Final = 10.0
"""How long a run's beginning and its end wait for a log that is away: its caller waits for the one, a
core that goes down for the other. In between, the agent waits as long as its run may take."""

LOST: Final = frozenset({AppendStatus.GAP, AppendStatus.GONE})
"""What a log says that has lost what it had accepted."""

logger = logging.getLogger(__name__)

_repairs: Final = Repeats()
"""Which of the lines about lost events are logged: a store that was wiped has lost those of all runs."""


def _nothing(*_: object) -> None:
    """Do nothing."""


class LogRefusedError(Exception):
    """The log takes nothing more of this run from this core."""

    def __init__(self, run_id: str, why: str) -> None:
        super().__init__(f"the log refuses run {run_id}: {why}")


class Ring:
    """The newest events that the log has accepted.

    Args:
        max_bytes: How much is kept: the newest event always.
    """

    def __init__(self, max_bytes: int) -> None:
        self.payloads: list[bytes] = []
        """In order."""
        self._max_bytes = max_bytes
        self._size_bytes = 0

    def add(self, payloads: Sequence[bytes]) -> None:
        """Keep more, and drop the oldest beyond the limit: a sixteenth at a time."""
        self.payloads += payloads
        self._size_bytes += sum(map(len, payloads))
        if self._size_bytes > self._max_bytes:
            target, count = ring_target(self._max_bytes), 0
            while self._size_bytes > target and count < len(self.payloads) - 1:
                self._size_bytes -= len(self.payloads[count])
                count += 1
            del self.payloads[:count]


class RunWriter:
    """The only writer of one run.

    What was handed over stays pending until the log has accepted it. An append that fails because
    the log is away is repeated, under the same numbers, which changes nothing where it had succeeded.
    Where the log may lose what it has accepted, the newest of it is kept, and written again under the
    same numbers when it turns out to be lost.

    Args:
        log: The store.
        record: The run.
        on_refusal: Called when the log refuses what was handed over: perhaps nobody is writing then.
        on_away: Called when the log is away, with what it said: once until `on_back`.
        on_back: Called when it has answered again, or is not waited for any longer.
        max_pending_bytes: How much may wait for the log.
        ring_bytes: How much is kept of what a log may lose.
    """

    def __init__(  # noqa: PLR0913 # what it writes, whom it tells, how much it keeps
        self,
        log: RunLog,
        record: RunRecord,
        *,
        on_refusal: Callable[[], None] = _nothing,
        on_away: Callable[[LogAwayError], None] = _nothing,
        on_back: Callable[[], None] = _nothing,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        ring_bytes: int = RING_BYTES,
    ) -> None:
        self._log = log
        self._run_id = record.run_id
        self._record = record
        self._on_refusal = on_refusal
        self._on_away = on_away
        self._on_back = on_back
        self._max_pending_bytes = max_pending_bytes
        self._ring = Ring(ring_bytes) if log.traits.restorable else None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._next = 1  # the number of the first pending one
        self._committing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._error: Exception | None = None
        self._progress = asyncio.Event()
        """Set at every step of the committing task."""

    async def write(self, payloads: Sequence[bytes]) -> None:
        """Hand events over. Returns when the log has accepted them, or they can wait for it.

        Raises:
            LogRefusedError: The log takes nothing more.
        """
        self._hand_over(payloads)
        while self._pending_bytes > self._max_pending_bytes:
            await self._step()
        self._raise_error()

    async def flush(self) -> None:
        """Return when the log has accepted all that was handed over.

        Raises:
            LogRefusedError: The log takes nothing more, or has been away for too long.
        """
        async with self._patience():
            await self._idle()

    async def check(self) -> None:
        """Return when the log has what was accepted so far: written again, where it was lost.

        Raises:
            LogRefusedError: The log takes nothing more: another core has closed the run.
            LogAwayError: The log can't say.
        """
        appended = await self._log.append(self._run_id, FIRST_EPOCH, self._next, ())
        if appended.status in LOST:
            appended = await self._repair(appended)
        if appended.status is not AppendStatus.OK:
            raise LogRefusedError(self._run_id, appended.status.value)

    async def close(self, payload: bytes, outcome: Outcome, exchange: Exchange | None = None) -> None:
        """Return when the log has accepted the terminal event, with all before it, and is closed.

        Args:
            payload: The terminal event.
            outcome: Which it is.
            exchange: What the run's session is to remember.

        Raises:
            LogRefusedError: The log takes nothing more, or has been away for too long.
        """
        # From now on nothing is committed but by this: the terminal event goes with what is pending.
        self._closing.set()
        async with self._patience():
            await self._idle()
            batch = (*self._pending, payload)
            close = partial(
                self._log.close, self._run_id, FIRST_EPOCH, self._next, batch, End(outcome, exchange)
            )
            appended = await self._surely(close)
        self._accepted(appended, batch)
        self._pending.clear()

    def detach(self) -> None:
        """Call nobody any more: a writer and a run that hold each other are garbage in a cycle."""
        self._on_refusal, self._on_away, self._on_back = _nothing, _nothing, _nothing

    def _hand_over(self, payloads: Sequence[bytes]) -> None:
        """Add to what is pending, and see to it that it is committed."""
        self._raise_error()
        self._pending += payloads
        self._pending_bytes += sum(map(len, payloads))
        if self._committing is None and self._pending and not self._closing.is_set():
            self._committing = asyncio.create_task(self._commit(), name=f"log of {self._run_id}")

    async def _commit(self) -> None:
        """Append what is pending until nothing is."""
        try:
            while self._pending and not self._closing.is_set():
                batch = tuple(self._pending)
                append = partial(self._log.append, self._run_id, FIRST_EPOCH, self._next, batch)
                self._accepted(await self._surely(append), batch)
                del self._pending[: len(batch)]
                self._pending_bytes -= sum(map(len, batch))
                self._progress.set()
        except LogAwayError:
            pass  # What is pending goes with the terminal event: some stores take only that.
        except Exception as error:  # noqa: BLE001 # whoever writes next is told
            self._error = error
            self._pending_bytes = 0  # Nobody waits for room any more.
            self._on_refusal()
        finally:
            self._committing = None
            self._progress.set()

    async def _surely(self, append: Callable[[], Awaitable[Appended]]) -> Appended:
        """Return the answer to an append that lacks nothing before it: that is written again first."""
        while (appended := await self._patiently(append)).status in LOST and self._ring is not None:
            repaired = await self._patiently(partial(self._repair, appended))
            if repaired.status is not AppendStatus.OK:
                return repaired
        return appended

    async def _repair(self, appended: Appended) -> Appended:
        """Write again what the log has lost, from what is kept.

        Raises:
            LogAwayError: Not now.
        """
        ring = self._ring
        assert ring is not None  # noqa: S101 # for the type checker
        held = self._next - len(ring.payloads)
        first = max(held, appended.expected) if appended.status is AppendStatus.GAP else held
        text = "the log has lost events of run %s from %d on: written again"
        _repairs.log(logger, logging.WARNING, text, self._run_id, first)
        payloads = ring.payloads[first - held :]
        return await self._log.restore(self._record, FIRST_EPOCH, first, payloads)

    async def _patiently(self, append: Callable[[], Awaitable[Appended]]) -> Appended:
        """Return the answer to an append, however long the log is away.

        Raises:
            LogAwayError: The log is away, and the run is being closed since: `close` appends it all.
        """
        try:
            return await append()
        except LogAwayError as error:
            self._on_away(error)
        try:
            return await self._again(append)
        finally:
            self._on_back()

    async def _again(self, append: Callable[[], Awaitable[Appended]]) -> Appended:
        """Return the answer to an append that has failed, however long the log is away.

        Raises:
            LogAwayError: The log is away, and the run is being closed since: `close` appends it all.
        """
        wait_s = RETRY_FIRST_S
        closing = self._closing.is_set()
        while True:
            if closing:
                await asyncio.sleep(wait_s)
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), wait_s)
            if self._closing.is_set() and not closing:
                raise LogAwayError("the run is being closed")
            try:
                return await append()
            except LogAwayError as error:
                logger.debug("run %s waits for the log: %s", self._run_id, error)
            wait_s = min(RETRY_MOST_S, 2 * wait_s)

    async def _idle(self) -> None:
        """Return when no append is under way."""
        while self._committing is not None:
            await self._step()
        self._raise_error()

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        """Give up on a log that is away for too long."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                yield
        except TimeoutError as error:
            if self._committing is not None:
                self._committing.cancel()
            raise LogRefusedError(self._run_id, "it is away") from error

    async def _step(self) -> None:
        """Return when the committing task has done something."""
        self._progress.clear()
        await self._progress.wait()

    def _accepted(self, appended: Appended, payloads: Sequence[bytes]) -> None:
        """Count on from what the log has."""
        if appended.status is not AppendStatus.OK:
            raise LogRefusedError(self._run_id, appended.status.value)
        self._next += len(payloads)
        if self._ring is not None:
            self._ring.add(payloads)

    def _raise_error(self) -> None:
        """Raise what the committing task has met."""
        if self._error is not None:
            raise self._error
