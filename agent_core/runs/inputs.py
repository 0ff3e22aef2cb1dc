"""The questions of one run: asked, open, and closed once. Log, then deliver, both ways."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from agent_core.agents.events import InputExpired
from agent_core.agents.inputs import Question
from agent_core.errors import (
    CoreLogAwayError,
    InputClosedError,
    InvalidRequestError,
    UnknownInputError,
    Violation,
)
from agent_core.runs.answers import WrongAnswerError, read_answer
from agent_core.runs.state import RunState
from agent_core.runs.writer import LogRefusedError, RunWriter
from tokenwire.telemetry import attributes, monotonic_nano
from tokenwire.telemetry.metrics.instruments import INPUT_DURATION
from tokenwire.telemetry.metrics.series import NANO
from tokenwire.v1 import event_pb2

MAX_OPEN: Final = 16
"""How many questions of a run may be open at once: more, no person keeps apart."""

LOGGED_S: Final = 5.0
"""How long an answer waits for a log that is away before its sender is told so. It holds all the same."""

OUTCOMES: Final = {
    "answered": event_pb2.INPUT_OUTCOME_ANSWERED,
    "declined": event_pb2.INPUT_OUTCOME_DECLINED,
    "expired": event_pb2.INPUT_OUTCOME_EXPIRED,
}
UNANSWERED: Final = "unanswered"
"""What the metric calls a question whose run has ended first."""

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
"""The id of a question: they count from 1."""


@dataclass(frozen=True, slots=True)
class InputHooks:
    """What the questions of a run call."""

    is_stopped: Callable[[], bool]
    """Returns whether the run is to end."""
    on_waiting: Callable[[bool], None]
    """Called with whether the run waits for a person, whenever that changes."""
    on_event: Callable[[str, dict[str, str]], None]
    """Called with the name and the attributes of an event for the run's span."""
    deadline: Callable[[], float]
    """Returns when the run must have ended, in seconds of the monotonic clock."""


class Answer(NamedTuple):
    """What a person sends."""

    value_json: str | None
    """One JSON value; None where the question is declined."""
    request_id: str = ""
    """Names the answer, for a repetition; empty for none."""


class _Decision(NamedTuple):
    """How a question was closed."""

    outcome: str
    sequence: int
    """The number of the event that says so."""
    request_id: str = ""
    """Of the answer that has closed it."""
    value: Any = None
    """What the agent is given."""

    def kept(self) -> _Decision:
        """Return what is to be remembered of it."""
        return self._replace(value=None)


@dataclass(slots=True, eq=False)
class _Asked:
    """A question that the agent waits for."""

    question: Question
    number: int
    sequence: int
    """The number of the event that asks."""
    asked_nano: int
    decided: asyncio.Future[_Decision]
    expiry: asyncio.TimerHandle = field(init=False)


class RunInputs:
    """Asks the people who follow a run, and gives its agent their answers. An agent's `InputPort`.

    Args:
        state: Makes the events.
        writer: Writes them.
        hooks: What is called.
        max_timeout_s: The longest time that a question may wait, in seconds; a longer one is cut.
    """

    def __init__(
        self, state: RunState, writer: RunWriter, hooks: InputHooks, *, max_timeout_s: float
    ) -> None:
        self._state = state
        self._writer = writer
        self._hooks: InputHooks | None = hooks
        self._max_timeout_s = max_timeout_s
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, _Asked] = {}
        self._decisions: list[_Decision | None] = []
        """How each question was closed, from number 1 on; None for one that no event closes."""
        self._last_deadline = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether a question is open."""
        return bool(self._open)

    def deadline(self) -> float:
        """Return when the run must have ended, as things stand; after its end, what that was."""
        if self._hooks is not None:
            self._last_deadline = self._hooks.deadline()
        return self._last_deadline

    async def ask(self, question: Question) -> Any:
        """Return the value that a person sends; None where the question is declined."""
        if asyncio.get_running_loop() is self._loop:
            return await self._ask(question)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._ask(question), self._loop))

    def ask_blocking(self, question: Question) -> Any:
        """Return the same, to code in a thread."""
        if asyncio._get_running_loop() is self._loop:  # noqa: SLF001 # the public one raises where there is none
            raise RuntimeError("ask_blocking would block the core's event loop: use `await request.ask(...)`")
        asking = asyncio.run_coroutine_threadsafe(self._ask(question), self._loop)
        try:
            return asking.result()
        except concurrent.futures.CancelledError:
            # Not an Exception, so that an agent does not take its own end for a failure.
            raise asyncio.CancelledError("the run has ended") from None

    async def receive(self, input_id: str, answer: Answer) -> str:
        """Take an answer. Return the question's outcome, answered or declined, once it is in the log.

        A repetition of the answer that has closed the question is returned the same.

        Args:
            input_id: The question.
            answer: What was sent.

        Raises:
            UnknownInputError: There is no such question.
            InputClosedError: It takes no answer any more.
            InvalidRequestError: It does not accept this one, and stays open.
            CoreLogAwayError: The log has not confirmed it in time. It holds once the log is back.
        """
        number = self._number(input_id)
        try:
            async with asyncio.timeout(LOGGED_S):
                asked = self._open.get(number)
                if asked is not None:
                    await self._writer.accepted(asked.sequence)  # nobody can have read it before
                decision = self._decided_by(number, answer) or self._answer(self._find(number), answer)
                await self._writer.accepted(decision.sequence)
        except TimeoutError as error:
            raise CoreLogAwayError from error
        except LogRefusedError as error:
            raise InputClosedError("") from error
        return decision.outcome

    def close(self) -> None:
        """Close all questions without an answer: the agent has ended. Code that still waits is cancelled."""
        self.deadline()
        self._hooks = None
        for asked in tuple(self._open.values()):
            self._forget(asked, UNANSWERED)
            asked.decided.cancel()

    async def _ask(self, question: Question) -> Any:
        asked = self._begin(question)
        try:
            decision = await asked.decided
        finally:
            if asked.number in self._open:  # The agent waits no longer.
                self._withdraw(asked)
        await self._writer.accepted(decision.sequence)
        if decision.outcome == "expired":
            raise InputExpired
        return decision.value

    def _begin(self, question: Question) -> _Asked:
        """Write a question, and start its time."""
        hooks = self._hooks
        if hooks is None or hooks.is_stopped():
            raise RuntimeError("the run has ended, or is being stopped: it can ask no more")
        if len(self._open) >= MAX_OPEN:
            raise ValueError(f"{MAX_OPEN} questions of this run are open: wait for one of them first")
        question = question.within(self._max_timeout_s)
        nano, number = monotonic_nano(), len(self._decisions) + 1
        self._writer.write([self._state.request_input(str(number), question, nano)])
        asked = _Asked(question, number, self._state.sequence, nano, self._loop.create_future())
        self._decisions.append(None)
        self._open[number] = asked
        asked.expiry = self._loop.call_later(question.timeout_s, self._expire, asked)
        if len(self._open) == 1:
            hooks.on_waiting(True)  # a callback's only argument
        told = {attributes.INPUT_ID: str(number), attributes.INPUT_KIND: question.kind}
        hooks.on_event("input_requested", told)
        return asked

    def _number(self, input_id: str) -> int:
        """Return the number of a question that was asked."""
        number = int(input_id) if _NUMBER.fullmatch(input_id) else 0
        if not 1 <= number <= len(self._decisions):
            raise UnknownInputError
        return number

    def _decided_by(self, number: int, answer: Answer) -> _Decision | None:
        """Return how a question was closed, if it was by this very answer."""
        decision = self._decisions[number - 1]
        if decision is None or not answer.request_id or decision.request_id != answer.request_id:
            return None
        return decision

    def _find(self, number: int) -> _Asked:
        """Return an open question."""
        asked = self._open.get(number)
        if asked is None or self._hooks is None or self._hooks.is_stopped():
            decision = self._decisions[number - 1]
            raise InputClosedError("" if decision is None else decision.outcome)
        return asked

    def _answer(self, asked: _Asked, answer: Answer) -> _Decision:
        """Close a question with an answer."""
        if answer.value_json is None:
            return self._close_as(asked, "declined", answer.request_id)
        try:
            value = read_answer(asked.question, answer.value_json)
        except WrongAnswerError as error:
            raise InvalidRequestError([Violation("value_json", str(error))]) from error
        return self._close_as(asked, "answered", answer.request_id, value)

    def _expire(self, asked: _Asked) -> None:
        with suppress(LogRefusedError):  # The run is being stopped for it.
            self._close_as(asked, "expired")

    def _withdraw(self, asked: _Asked) -> None:
        """Close a question that the agent gave up, so that it is not shown any more."""
        if self._hooks is None or self._hooks.is_stopped():
            self._forget(asked, UNANSWERED)  # The run's end closes it.
        else:
            self._expire(asked)

    def _close_as(self, asked: _Asked, outcome: str, request_id: str = "", value: object = None) -> _Decision:
        """Write how a question was closed: from now on that is decided."""
        nano = monotonic_nano()
        self._writer.write([self._state.receive_input(str(asked.number), OUTCOMES[outcome], nano)])
        decision = _Decision(outcome, self._state.sequence, request_id, value)
        self._decisions[asked.number - 1] = decision.kept()
        assert self._hooks is not None  # noqa: S101 # for the type checker: nothing is open after `close`
        told = {attributes.INPUT_ID: str(asked.number), attributes.INPUT_OUTCOME: outcome}
        self._hooks.on_event("input_received", told)
        self._forget(asked, outcome)
        if not asked.decided.done():
            asked.decided.set_result(decision)
        return decision

    def _forget(self, asked: _Asked, outcome: str) -> None:
        """Stop the time of a question: the run waits no longer for it."""
        del self._open[asked.number]
        asked.expiry.cancel()
        INPUT_DURATION.observe((monotonic_nano() - asked.asked_nano) / NANO, outcome)
        if not self._open and self._hooks is not None:
            self._hooks.on_waiting(False)  # a callback's only argument
