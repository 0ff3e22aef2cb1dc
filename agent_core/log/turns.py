"""What all runs submit in one turn of the event loop, written as one append. For stores that wait.

No timer and no task: the first append of a turn has the turn's end called (`call_soon`), and what comes while
the store writes is its next turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agent_core.log.append import Append, Appended, OnAnswer
from agent_core.log.errors import LogAwayError
from agent_core.log.records import exchange_bytes
from tokenwire.telemetry import monotonic_nano

MAX_TURN_BYTES: Final = 1024 * 1024
"""The most bytes of one turn, but for its first append: what comes after them is not kept waiting for long,
and a store is not frozen by the one."""

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Turn:
    """What a store is writing."""

    on_answers: Sequence[OnAnswer]
    began_nano: int


def _not_timed(_: int) -> None:
    """Do nothing."""


class Turns:
    """Collects appends and hands them to a store, turn by turn, in order.

    Args:
        write: Begins to write some appends, all or none; one at least. Called in the loop, it must not wait.
            The store calls `answered` when it has written them, or knows that it can't.
        max_bytes: The most bytes of one turn, but for its first append.
        max_under_way: How many turns the store is given before it has answered the first of them.
        on_duration: Called with how long each turn took, in nanoseconds: failures, too.
    """

    def __init__(
        self,
        write: Callable[[list[Append]], None],
        *,
        max_bytes: int = MAX_TURN_BYTES,
        max_under_way: int = 1,
        on_duration: Callable[[int], None] = _not_timed,
    ) -> None:
        self.on_duration = on_duration
        self._write = write
        self._max_bytes = max_bytes
        self._max_under_way = max_under_way
        self._collected: deque[tuple[Append, OnAnswer]] = deque()
        self._under_way: deque[_Turn] = deque()
        self._ending = False
        """True when the turn's end is going to be called."""
        self._closed = False
        self._idle: asyncio.Future[None] | None = None

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        """Have an append written with all others of this turn. As in RunLog.

        After `aclose` it is answered with LogAwayError.
        """
        if self._closed:
            error = LogAwayError("the log is closed")
            asyncio.get_running_loop().call_soon(_answer, on_answer, error)
            return
        self._collected.append((append, on_answer))
        if not self._ending:
            self._begin_turn()

    def answered(self, answers: Sequence[Appended | Exception] | Exception) -> None:
        """Hand out what became of the oldest turn under way.

        Args:
            answers: One for each append, in their order, each as OnAnswer takes it; or an exception for all.
        """
        self._hand_out(answers, self._under_way.popleft())

    async def aclose(self) -> None:
        """Return when all is answered that was submitted; take nothing more."""
        self._closed = True
        if self._collected or self._under_way:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def _hand_out(self, answers: Sequence[Appended | Exception] | Exception, turn: _Turn) -> None:
        """Say what became of a turn."""
        on_answers, began_nano = turn.on_answers, turn.began_nano
        self.on_duration(monotonic_nano() - began_nano)
        if not isinstance(answers, Exception) and len(answers) != len(on_answers):
            answers = RuntimeError(f"{len(answers)} answers to {len(on_answers)} appends")
        if isinstance(answers, Exception):
            answers = [answers] * len(on_answers)
        for on_answer, answer in zip(on_answers, answers, strict=True):
            _answer(on_answer, answer)
        if self._collected:
            self._begin_turn()  # Also what the answers made runs submit.
        elif self._idle is not None and not self._under_way and not self._idle.done():
            self._idle.set_result(None)

    def _begin_turn(self) -> None:
        """Have what is collected written at the end of this turn of the loop, if the store takes more."""
        if not self._ending and len(self._under_way) < self._max_under_way:
            self._ending = True
            asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        """Give the store what was collected."""
        self._ending = False
        appends, on_answers = self._taken()
        turn = _Turn(on_answers, monotonic_nano())
        self._under_way.append(turn)
        try:
            self._write(appends)
        except Exception as error:
            logger.exception("the store could not begin to write: this is a bug of the core")
            if turn in self._under_way:  # else it was answered all the same
                self._under_way.remove(turn)
                self._hand_out(error, turn)
        if self._collected:
            self._begin_turn()

    def _taken(self) -> tuple[list[Append], list[OnAnswer]]:
        """Return of what was collected what goes together: one append at least."""
        appends: list[Append] = []
        on_answers: list[OnAnswer] = []
        size_bytes = 0
        collected = self._collected
        while collected:
            append, on_answer = collected[0]
            size_bytes += append_bytes(append)
            if appends and size_bytes > self._max_bytes:
                break
            collected.popleft()
            appends.append(append)
            on_answers.append(on_answer)
        return appends, on_answers


def append_bytes(append: Append) -> int:
    """Return how many bytes an append has: its events, and what its session is to remember."""
    payloads, end = append.payloads, append.end
    size_bytes = len(payloads[0]) if len(payloads) == 1 else sum(map(len, payloads))
    if end is not None and end.exchange is not None:
        size_bytes += exchange_bytes(end.exchange)
    return size_bytes


def _answer(on_answer: OnAnswer, answer: Appended | Exception) -> None:
    """Say what became of an append. A bug of one run must not keep the others from their answers."""
    try:
        on_answer(answer)
    except Exception:
        logger.exception("an append's answer could not be taken: this is a bug of the core")
