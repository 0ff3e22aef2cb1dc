"""Writes what all runs submit in one turn of the event loop with one script.

Ends go as scripts of their own, on the same connection: each is one step with its run's last events, and is
written where there is no memory for others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from redis.exceptions import ConnectionError as LostError

from agent_core.log.append import Append, Appended, AppendStatus, End
from agent_core.log.budget import LogBudget
from agent_core.log.encoding import seal
from agent_core.log.errors import LogAwayError
from agent_core.log.records import RunRecord
from agent_core.log.redis.calls import Calls, Ending
from agent_core.log.redis.connection import BROKEN, ReadOnlyAwayError, log_error
from agent_core.log.redis.records import appended_of
from agent_core.log.redis.run_cache import CachedRun, RunCache
from agent_core.log.redis.script_connection import ScriptConnection
from agent_core.log.redis.turn import MAX_TURN_BYTES, pack_limits, pack_run
from agent_core.log.turns import Turns
from tokenwire.backoff import Backoff

RENEW_S: Final = 3600.0
"""How often the time to live of an open run's keys begins anew: it is a week."""

CONNECT_AGAIN_S: Final = (0.05, 0.5)
"""How long after a failed connection no other is tried, at first and at most: a thousand runs ask for one."""

RESTAMP_NANO: Final = 1_000_000
"""How old the stamp of an event may be when it is delivered here. It was taken when the event was sent to
Redis: after a slow answer, what has taken so long would seem to be the hop after the log."""

logger = logging.getLogger(__name__)

_OK: Final = Appended(AppendStatus.OK)
_OVER: Final = frozenset({AppendStatus.FENCED, AppendStatus.CLOSED})
"""What the log says of a run that this process does not write any more."""


class _Turn:
    """What became of the appends of one turn, while it is written."""

    __slots__ = ("answers", "appends", "events", "left", "on_answers", "places", "renewed", "sent_nano")

    def __init__(
        self, appends: Sequence[Append], sent_nano: int, on_answers: Callable[[_Turn], None]
    ) -> None:
        self.appends = appends
        self.sent_nano = sent_nano
        """When it was sent: the stamp of its events."""
        self.on_answers = on_answers
        self.answers: list[Appended | Exception] = [_OK] * len(appends)
        self.events = [
            seal(append.payloads, epoch=append.epoch, first=append.first, logged_nano=sent_nano)
            for append in appends
        ]
        self.places: list[int] = []
        """Which of the appends go with the common script."""
        self.renewed: list[tuple[int, CachedRun]] = []
        """The runs whose keys' time to live it renews, and where in the turn they are."""
        self.left = 1
        """How many answers are still missing; one stands for the sending itself."""

    def done(self, place: int, answer: Appended | Exception) -> None:
        """Take the answer to one append."""
        self.answers[place] = answer
        self.part_done()

    def part_done(self) -> None:
        """Count an answer."""
        self.left -= 1
        if not self.left:
            self.on_answers(self)


class Appends:
    """The appends of one process.

    Args:
        connection: Theirs alone.
        cache: The runs that are written here.
        calls: Makes the scripts' arguments.
        budget: What limits the runs.
        prefix: What the names of all keys begin with.
        append_unknown: Appends to a run that is not written here: a reaper's, or a test's.
        stamp: The monotonic clock that `logged_nano` is read from.
        unix_nano: The wall clock.
    """

    def __init__(  # noqa: PLR0913 # what the scripts are given
        self,
        connection: ScriptConnection,
        cache: RunCache,
        calls: Calls,
        budget: LogBudget,
        *,
        prefix: str,
        append_unknown: Callable[[Append], Awaitable[Appended]],
        stamp: Callable[[], int],
        unix_nano: Callable[[], int],
    ) -> None:
        self.turns = Turns(self._write, max_bytes=MAX_TURN_BYTES)
        self._stamp = stamp
        self._cache = cache
        self._connection = connection
        self._calls = calls
        self._limits = (pack_limits(budget), prefix)
        self._append_unknown = append_unknown
        self._unix_nano = unix_nano
        self._backoff = Backoff(*CONNECT_AGAIN_S, at_once=True)
        self._not_before_s = 0.0
        self._failure: Exception = LogAwayError()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def aclose(self) -> None:
        """Finish what is under way, and close the connection."""
        await self.turns.aclose()
        await self._connection.aclose()

    def _write(self, appends: list[Append]) -> None:
        """Begin to write a turn."""
        if self._connection.is_connected:
            self._send(appends)
        elif time.monotonic() < self._not_before_s:
            asyncio.get_running_loop().call_soon(self.turns.answered, self._failure)
        else:
            self._spawn(self._connect_and_send(appends))

    async def _connect_and_send(self, appends: list[Append]) -> None:
        """Connect, and write a turn over the new connection."""
        try:
            await self._connection.connect()
        except Exception as error:  # noqa: BLE001 # the runs must not wait for ever
            now_s = time.monotonic()
            self._not_before_s = now_s + (self._backoff.failed(now_s) or 0.0)
            self._failure = _failure(error)
            self.turns.answered(self._failure)
        else:
            self._backoff.succeeded()
            self._send(appends)

    def _send(self, appends: list[Append]) -> None:
        """Send a turn: one script for all runs that go on, one for each end."""
        turn = _Turn(appends, self._stamp(), self._finish)
        keys: list[bytes] = []
        packed: list[bytes] = []
        now_s = time.monotonic()
        for place, append in enumerate(appends):
            run = self._cache.own(append.run_id)
            if run is None or run.record is None:
                turn.left += 1
                self._spawn(self._answer_unknown(turn, place))
            elif append.end is not None:
                turn.left += 1
                self._send_end(turn, place, run.record, append.end)
            else:
                renew = now_s >= run.renew_s
                if renew:
                    turn.renewed.append((place, run))
                turn.places.append(place)
                keys += run.keys
                packed.append(
                    pack_run(
                        append.epoch,
                        append.first,
                        turn.events[place],
                        renew=renew,
                        publish=bool(run.followed_at),
                    )
                )
        if packed:
            turn.left += 1
            self._connection.run("turn", keys, (*self._limits, *packed), partial(self._on_turn, turn))
        turn.part_done()

    def _send_end(self, turn: _Turn, place: int, record: RunRecord, end: End) -> None:
        """Send a run's last events and its end."""
        append = turn.appends[place]
        ending = Ending(end.outcome, self._unix_nano(), end.exchange)
        call = self._calls.append(record, append.epoch, append.first, turn.events[place], ending=ending)
        self._connection.run(
            call.script, call.keys, call.arguments, lambda reply: turn.done(place, self._end_answer(reply))
        )

    def _end_answer(self, reply: Any) -> Appended | Exception:
        return _failure(reply) if isinstance(reply, Exception) else appended_of(reply)

    def _on_turn(self, turn: _Turn, reply: Any) -> None:
        """Take what became of the runs that go on: it names only those that were refused."""
        if isinstance(reply, Exception):
            failure = _failure(reply)
            for place in turn.places:
                turn.answers[place] = failure
        else:
            for number, status, more in reply:
                is_error = status == b"ERROR"
                answer = (
                    _failure(self._connection.error_of(more)) if is_error else appended_of((status, more))
                )
                turn.answers[turn.places[number - 1]] = answer
        turn.part_done()

    def _finish(self, turn: _Turn) -> None:
        """Deliver what was accepted to readers at this core, and hand out the answers."""
        now_nano = self._stamp()
        is_late = now_nano - turn.sent_nano > RESTAMP_NANO
        for append, events, answer in zip(turn.appends, turn.events, turn.answers, strict=True):
            if is_late:
                events = seal(  # noqa: PLW2901 # the same, with another stamp
                    append.payloads, epoch=append.epoch, first=append.first, logged_nano=now_nano
                )
            try:
                self._deliver(append, events, answer)
            except Exception:
                logger.exception(
                    "the readers of run %s missed an append: this is a bug of the core", append.run_id
                )
        for place, run in turn.renewed:
            if turn.answers[place] == _OK:
                run.renew_s = time.monotonic() + RENEW_S
        if any(isinstance(answer, ReadOnlyAwayError) for answer in turn.answers):
            # The server was made a replica. A new connection finds the primary.
            self._connection.abort(LostError("the server is a replica now"))
        self.turns.answered(turn.answers)

    def _deliver(self, append: Append, events: Sequence[bytes], answer: Appended | Exception) -> None:
        """Show readers at this core what became of an append."""
        if isinstance(answer, Exception):
            return
        if answer.status is AppendStatus.OK:
            self._cache.accepted(append.run_id, append.first, events, closed=append.end is not None)
        elif answer.status in _OVER:
            self._cache.give_up(append.run_id)

    async def _answer_unknown(self, turn: _Turn, place: int) -> None:
        """Append to a run that is not written here."""
        answer: Appended | Exception
        try:
            answer = await self._append_unknown(turn.appends[place])
        except Exception as error:  # noqa: BLE001 # it is the answer
            answer = error
        turn.done(place, answer)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="redis appends")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _failure(error: Exception) -> Exception:
    """Return what an error of Redis, or of the connection, means for the log."""
    return log_error(error) if isinstance(error, BROKEN) else error
