"""Writes one run's events to the log: in order, none twice, none left out.

Commits in groups without a timer: what is written while no append of the run is under way is submitted at
once; what is written meanwhile stays pending, and is submitted together from the answer's callback. So no
token costs a task, a future or a coroutine. Only a run in trouble has a timer, or a task that repairs it.

One module, since it is one state machine: submitting, retrying, repairing and closing share what is pending.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from agent_core.log.append import Append, Appended, AppendStatus, End
from agent_core.log.budget import ring_target
from agent_core.log.contract import RunLog
from agent_core.log.errors import LogAwayError
from agent_core.log.position import FIRST_EPOCH
from agent_core.log.records import Exchange, Outcome, RunRecord
from tokenwire.backoff import Backoff
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

_OK: Final = AppendStatus.OK  # as a global: the attribute of an enum takes three times as long, each token

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

    What was written stays here until the log has accepted it. An append that fails because the log is
    away is submitted again, under the same numbers, which changes nothing where it had succeeded. Where
    the log may lose what it has accepted, the newest of it is kept, and written again under the same
    numbers when it turns out to be lost.

    Args:
        log: The store.
        record: The run.
        on_refusal: Called when the log refuses what was written, in a later turn of the event loop: perhaps
            nothing is written any more then.
        on_away: Called when the log is away, with what it said: once until `on_back`.
        on_back: Called when the log has accepted something again, or is not waited for any longer.
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
        self.full = False
        """True when so much waits for the log that the agent has to: call `room`."""
        self._log = log
        self._run_id = record.run_id
        self._record = record
        self._on_refusal = on_refusal
        self._on_away = on_away
        self._on_back = on_back
        self._max_pending_bytes = max_pending_bytes
        self._ring = Ring(ring_bytes) if log.traits.restorable else None
        self._next = 1
        """The number of the first event that the log has not accepted."""
        self._pending: list[bytes] = []
        """What is not even submitted."""
        self._end: End | None = None
        """From `close` on: the last pending event is the terminal one."""
        self._closed = False
        """True when the log has accepted it."""
        self._waiting_bytes = 0
        """What the log has not accepted: submitted or pending."""
        self._submitted_bytes = 0
        self._under_way: Append | None = None
        self._idle = True
        """True where a write is submitted at once: nothing is under way, and no failure is waited out."""
        self._retry: asyncio.TimerHandle | None = None
        self._backoff: Backoff | None = None
        """Only while the run is in trouble."""
        self._told_away = False
        self._repairing: asyncio.Task[None] | None = None
        self._repaired = False
        """True from a repair on until an append is accepted."""
        self._error: Exception | None = None
        """Why nothing more is written."""
        self._steps: list[asyncio.Future[LogAwayError | None]] = []
        """What is awaited until the log's next answer: holds what it said if it is away."""

    def write(self, payloads: Sequence[bytes]) -> None:
        """Hand events over: the log has accepted them, or will.

        Args:
            payloads: From `agent_core.log.encoding.encode_payload`. They are not copied: don't change them.

        Raises:
            LogRefusedError: The log takes nothing more.
        """
        if self._idle:
            self._idle = False
            self._submitted_bytes = 0
            self._under_way = Append(self._run_id, FIRST_EPOCH, self._next, payloads)
            self._log.submit(self._under_way, self._answered)
            if self._idle:
                return  # The store does not wait.
            self._raise_error()
            self._wait_for_log(payloads)
            self._submitted_bytes = self._waiting_bytes
        else:
            self._raise_error()
            if self._end is not None:
                raise LogRefusedError(self._run_id, "it is being closed")
            self._pending += payloads
            self._wait_for_log(payloads)

    async def room(self) -> None:
        """Return when more may be written, in another turn of the event loop.

        Raises:
            LogRefusedError: The log takes nothing more.
        """
        await asyncio.sleep(0)
        while self.full:
            await self._step()
        self._raise_error()

    async def accepted(self, sequence: int) -> None:
        """Return when the log has accepted an event, however long that takes.

        Args:
            sequence: Its number. It was written.

        Raises:
            LogRefusedError: The log takes nothing more.
        """
        while self._next <= sequence:
            self._raise_error()
            await self._step()

    async def flush(self) -> None:
        """Return when the log has accepted all that was written.

        Raises:
            LogRefusedError: The log takes nothing more, or has been away for too long.
        """
        if self._waiting_bytes:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    while self._waiting_bytes:
                        await self._step()
            except TimeoutError as late:
                error = LogRefusedError(self._run_id, "it is away")
                self._stop(error)
                raise error from late
        self._raise_error()

    async def close(self, payload: bytes, outcome: Outcome, exchange: Exchange | None = None) -> None:
        """Return when the log has accepted the terminal event, with all before it, and is closed.

        Args:
            payload: The terminal event.
            outcome: Which it is.
            exchange: What the run's session is to remember.

        Raises:
            LogRefusedError: The log takes nothing more, or has been away for too long.
        """
        if self._end is not None:
            raise LogRefusedError(self._run_id, "it is being closed")
        self._raise_error()
        self._end = End(outcome, exchange)
        self._pending.append(payload)
        self._wait_for_log((payload,))
        if self._may_submit:
            self._submit()  # Also where appends fail: some stores take only an end.
        await self.flush()

    async def check(self) -> None:
        """Return when the log has what was accepted so far: written again, where it was lost.

        Raises:
            LogRefusedError: The log takes nothing more: another core has closed the run.
            LogAwayError: The log can't say.
        """
        self._raise_error()
        if not (self._may_submit or self._closed):
            await self._step()  # The log may have done that before there was a reason to ask.
            self._raise_error()
        if self._closed:
            return
        step = self._step()
        if self._may_submit:
            self._submit()
        away = await step
        if away is not None:
            raise away
        self._raise_error()

    def detach(self) -> None:
        """Write nothing more, and call nothing: a writer and a run that hold each other are a cycle."""
        self._on_refusal, self._on_away, self._on_back = _nothing, _nothing, _nothing
        if self._error is None:
            self._stop(LogRefusedError(self._run_id, "the run is over"))

    @property
    def _may_submit(self) -> bool:
        """True when nothing is under way: at most the wait after a failure."""
        return self._idle or self._retry is not None

    def _wait_for_log(self, payloads: Sequence[bytes]) -> None:
        """Count what the log has not accepted yet."""
        self._waiting_bytes += sum(map(len, payloads))
        self.full = self._waiting_bytes > self._max_pending_bytes

    def _submit(self) -> None:
        """Submit what is pending, be it nothing: then the log says whether it has what it accepted."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._idle = False
        self._submitted_bytes = self._waiting_bytes
        append = self._under_way = Append(self._run_id, FIRST_EPOCH, self._next, self._pending, self._end)
        self._pending = []
        self._log.submit(append, self._answered)

    def _answered(self, answer: Appended | Exception) -> None:
        """Count on from what the log has, and submit what has come since."""
        append, self._under_way = self._under_way, None
        if append is None:
            return  # It has come too late: the run is given up.
        if isinstance(answer, Exception) or answer.status is not _OK:
            self._not_accepted(append, answer)
            return
        self._next += len(append.payloads)
        self._waiting_bytes -= self._submitted_bytes
        if self.full:
            self.full = self._waiting_bytes > self._max_pending_bytes
        if append.end is None:
            self._idle = True
        else:
            self._closed = True
        if self._ring is not None:
            self._ring.add(append.payloads)
            self._repaired = False
        if self._told_away:
            self._back()
        if self._pending:
            self._submit()
        if self._steps:
            self._wake(None)

    def _not_accepted(self, append: Append, answer: Appended | Exception) -> None:
        """Do what it means that an append was not accepted."""
        if isinstance(answer, Exception):
            self._take_back(append)
            self._failed(answer, retried_at_once=self._end is not append.end)
        elif answer.status in LOST and self._ring is not None:
            self._take_back(append)
            self._lost(answer)
        else:
            self._refused(LogRefusedError(self._run_id, answer.status.value))

    def _take_back(self, append: Append) -> None:
        """Let be pending what the log has not accepted."""
        self._pending = [*append.payloads, *self._pending]

    def _failed(self, error: Exception, *, retried_at_once: bool = False) -> None:
        """Do what is to be done now that the log has not answered.

        Args:
            error: What it said.
            retried_at_once: The run is being closed since, and some stores take only an end.
        """
        if not isinstance(error, LogAwayError):
            self._refused(error)
            return
        logger.debug("run %s waits for the log: %s", self._run_id, error)
        if not self._pending:
            self._idle = True  # It was only asked.
        elif retried_at_once:
            self._submit()
        else:
            self._wait(error)
        self._wake(error)

    def _wait(self, error: LogAwayError) -> None:
        """Submit again in a while."""
        if not self._told_away:
            self._told_away = True
            self._on_away(error)
        if self._backoff is None:
            self._backoff = Backoff(RETRY_FIRST_S, RETRY_MOST_S)
        loop = asyncio.get_running_loop()
        wait_s = self._backoff.failed(loop.time())
        assert wait_s is not None  # noqa: S101 # it never gives up
        self._retry = loop.call_later(wait_s, self._submit)

    def _back(self) -> None:
        """Say that the log is not waited for any longer."""
        self._told_away, self._backoff = False, None
        self._on_back()

    def _lost(self, answer: Appended) -> None:
        """Write again what the log has lost; in a while where it loses even that."""
        if self._repaired:
            self._repaired = False
            self._failed(LogAwayError(f"it loses what it accepts: {answer.status.value}"))
        else:
            self._repairing = asyncio.create_task(self._repair(answer), name=f"repair of {self._run_id}")

    async def _repair(self, answer: Appended) -> None:
        """Write again what the log has lost, from what is kept, and go on."""
        ring = self._ring
        assert ring is not None  # noqa: S101 # for the type checker
        held = self._next - len(ring.payloads)
        first = max(held, answer.expected) if answer.status is AppendStatus.GAP else held
        text = "the log has lost events of run %s from %d on: written again"
        _repairs.log(logger, logging.WARNING, text, self._run_id, first)
        try:
            restored = await self._log.restore(
                self._record, FIRST_EPOCH, first, ring.payloads[first - held :]
            )
        except Exception as error:  # noqa: BLE001 # who writes next is given it
            self._repairing = None
            self._failed(error)
            return
        self._repairing = None
        if restored.status is AppendStatus.OK:
            self._repaired = True
            self._submit()
        else:
            self._refused(LogRefusedError(self._run_id, restored.status.value))

    def _refused(self, error: Exception) -> None:
        """Write nothing more, and say so: perhaps nothing is written any more that would raise it."""
        self._stop(error)
        # Later: in this turn perhaps the agent's own task writes, and that would be cancelled.
        asyncio.get_running_loop().call_soon(self._tell_refusal)

    def _tell_refusal(self) -> None:
        self._on_refusal()

    def _stop(self, error: Exception) -> None:
        """Write nothing more, and drop what was not accepted."""
        self._error = error
        self._idle, self._under_way = False, None
        self._pending, self._waiting_bytes, self.full = [], 0, False
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._repairing is not None:
            self._repairing.cancel()
            self._repairing = None
        if self._told_away:
            self._back()
        self._wake(None)

    def _step(self) -> asyncio.Future[LogAwayError | None]:
        """Return what is done when the log has accepted something, or refused it, or is away.

        Then it holds what the log has said.
        """
        step: asyncio.Future[LogAwayError | None] = asyncio.get_running_loop().create_future()
        self._steps.append(step)
        return step

    def _wake(self, away: LogAwayError | None) -> None:
        """Let all look again who wait for a step."""
        steps, self._steps = self._steps, []
        for step in steps:
            if not step.done():  # The one who waited was cancelled.
                step.set_result(away)

    def _raise_error(self) -> None:
        """Raise what the log has said to an append, where it takes nothing more."""
        if self._error is not None:
            raise self._error
