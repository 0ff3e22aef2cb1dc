"""Questions of a run, over a log that answers when it is let: nothing is delivered before it is logged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent_core.agents import InputExpired
from agent_core.agents.inputs import make_question
from agent_core.errors import CoreLogAwayError, InputClosedError, InvalidRequestError, UnknownInputError
from agent_core.log.append import Appended, AppendStatus
from agent_core.runs import inputs as module
from agent_core.runs.failures import RunTooLargeError
from agent_core.runs.inputs import Answer, InputHooks, RunInputs
from agent_core.runs.limits import RunLimits
from agent_core.runs.state import RunState
from agent_core.runs.writer import LogRefusedError, RunWriter
from tests.support.stores import RUN, record
from tests.unit.agent_core.runs.test_writer import SlowLog
from tokenwire.v1.event_pb2 import RunStarted

APPROVAL = make_question("Delete?")
YES = Answer("true")


class Asked:
    """A run's questions, and what they have called."""

    def __init__(self, log: SlowLog, limits: RunLimits) -> None:
        self.log = log
        self.state = RunState(wall_offset_nano=0, limits=limits)
        self.writer = RunWriter(log, record(RUN))
        self.waiting: list[bool] = []
        self.spans: list[tuple[str, dict[str, str]]] = []
        self.stopped = False
        hooks = InputHooks(
            lambda: self.stopped, self.waiting.append, lambda *event: self.spans.append(event), lambda: 7.0
        )
        self.inputs = RunInputs(self.state, self.writer, hooks, max_timeout_s=limits.max_input_wait_s)

    async def ask(self, question: Any = APPROVAL) -> asyncio.Task[Any]:
        """Return a task that asks, when it has."""
        task = asyncio.create_task(self.inputs.ask(question))
        await turns()
        return task


async def turns() -> None:
    """Let all that can go on now go on."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def run() -> AsyncIterator[Asked]:
    asked = await asked_with()
    yield asked
    asked.inputs.close()
    asked.writer.detach()


async def asked_with(**limits: Any) -> Asked:
    """Return the questions of a run that has begun."""
    log = SlowLog()
    asked = Asked(log, RunLimits(**limits))
    await log.create(record(RUN))
    log.let(1)
    asked.writer.write([asked.state.start(RunStarted(run_id=RUN), 1)])
    await asked.writer.flush()
    return asked


async def test_an_answer_is_delivered_once_it_is_logged(run: Asked) -> None:
    """It is not even taken before the question is; both clocks are told, and the run's span."""
    asking = await run.ask()
    assert run.inputs.is_waiting
    answering = asyncio.create_task(run.inputs.receive("1", YES))
    await turns()
    assert run.spans == [("input_requested", {"tokenwire.input.id": "1", "tokenwire.input.kind": "approval"})]
    run.log.let()
    await turns()
    assert run.spans[1:] == [
        ("input_received", {"tokenwire.input.id": "1", "tokenwire.input.outcome": "answered"})
    ]
    assert not asking.done()
    assert not answering.done()
    assert not run.inputs.is_waiting
    run.log.let()
    assert (await asking, await answering) == (True, "answered")
    assert run.waiting == [True, False]


async def test_the_first_answer_decides_even_while_the_log_is_slow(run: Asked) -> None:
    """The second is refused at once; the first, repeated, waits for the log as it did."""
    asking = await run.ask()
    run.log.let()
    await turns()
    first = asyncio.create_task(run.inputs.receive("1", Answer("false", "a")))
    await turns()
    with pytest.raises(InputClosedError) as caught:
        await run.inputs.receive("1", Answer("true", "b"))
    assert caught.value.outcome == "answered"
    again = asyncio.create_task(run.inputs.receive("1", Answer("false", "a")))
    await turns()
    assert not again.done()
    run.log.let()
    assert [await first, await again, await asking] == ["answered", "answered", False]
    with pytest.raises(InputClosedError):
        await run.inputs.receive("1", YES)


async def test_an_answer_that_the_log_does_not_confirm_holds_all_the_same(
    run: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender is told to repeat it."""
    monkeypatch.setattr(module, "LOGGED_S", 0.01)
    asking = await run.ask()
    run.log.let()
    await turns()
    with pytest.raises(CoreLogAwayError):
        await run.inputs.receive("1", Answer(None, "a"))
    run.log.let()
    assert await asking is None
    assert await run.inputs.receive("1", Answer(None, "a")) == "declined"


async def test_an_answer_must_fit_its_question(run: Asked) -> None:
    """Otherwise it stays open; unknown questions are told apart."""
    asking = await run.ask()
    run.log.let(2)
    with pytest.raises(InvalidRequestError):
        await run.inputs.receive("1", Answer('"yes"'))
    for unknown in ("2", "0", "01", "", "x", "²", "9" * 30):
        with pytest.raises(UnknownInputError):
            await run.inputs.receive(unknown, YES)
    assert await run.inputs.receive("1", YES) == "answered"
    assert await asking is True


async def test_a_question_expires_by_the_cores_own_clock(run: Asked) -> None:
    """Also where it is one of several: the run waits until the last one is closed."""
    first = await run.ask(make_question("Now?", timeout_s=0.02))
    second = await run.ask()
    run.log.let(10)
    with pytest.raises(InputExpired):
        await first
    assert run.waiting == [True]
    with pytest.raises(InputClosedError) as caught:
        await run.inputs.receive("1", YES)
    assert caught.value.outcome == "expired"
    await run.inputs.receive("2", YES)
    assert await second is True
    assert run.waiting == [True, False]


async def test_a_question_that_the_agent_gives_up_is_closed(run: Asked) -> None:
    """As one that has expired; not where the run is being stopped, whose end closes it."""
    run.log.let(10)
    given_up = await run.ask()
    given_up.cancel()
    await turns()
    assert [name for name, _ in run.spans] == ["input_requested", "input_received"]
    asking = await run.ask()
    run.stopped = True
    with pytest.raises(InputClosedError) as caught:
        await run.inputs.receive("2", YES)
    assert caught.value.outcome == ""
    asking.cancel()
    await turns()
    assert [name for name, _ in run.spans][2:] == ["input_requested"]
    with pytest.raises(RuntimeError, match="it can ask no more"):
        await run.inputs.ask(APPROVAL)


async def test_the_end_of_the_agent_closes_what_is_open(run: Asked) -> None:
    """Code that still waits is cancelled, also in a thread, and can't ask again."""
    run.log.let(10)
    asking = await run.ask()
    in_threads = [asyncio.create_task(asyncio.to_thread(asks, run.inputs)) for asks in (blocked, in_own_loop)]
    async with asyncio.timeout(10):
        while len(run.spans) < 3:
            await asyncio.sleep(0.001)
    assert run.inputs.deadline() == 7.0
    run.inputs.close()
    run.inputs.close()
    await asyncio.wait({asking})
    assert asking.cancelled()
    assert await asyncio.gather(*in_threads) == ["cancelled", "cancelled"]
    assert run.waiting == [True]
    assert run.inputs.deadline() == 7.0
    with pytest.raises(RuntimeError, match="it can ask no more"):
        await run.inputs.ask(APPROVAL)
    with pytest.raises(InputClosedError):
        await run.inputs.receive("1", YES)


def blocked(inputs: RunInputs) -> str:
    try:
        inputs.ask_blocking(APPROVAL)
    except asyncio.CancelledError:
        return "cancelled"
    return "answered"


def in_own_loop(inputs: RunInputs) -> str:
    async def ask() -> str:
        try:
            await inputs.ask(APPROVAL)
        except asyncio.CancelledError:
            return "cancelled"
        return "answered"

    return asyncio.run(ask())


async def test_the_loop_of_the_core_is_not_blocked(run: Asked) -> None:
    """Not even by an agent that calls what is made for threads."""
    with pytest.raises(RuntimeError, match="would block the core's event loop"):
        run.inputs.ask_blocking(APPROVAL)


async def test_a_run_that_its_log_refuses_takes_no_answer(run: Asked) -> None:
    """Neither an answer, nor the end of a question's time, is written any more."""
    asking = await run.ask(make_question("Now?", timeout_s=0.05))
    run.log.let()
    await turns()
    run.log.answers.append(Appended(AppendStatus.FENCED))
    run.log.let()
    with pytest.raises(InputClosedError):
        await run.inputs.receive("1", YES)
    with pytest.raises(LogRefusedError):
        await asking
    late = Asked(run.log, RunLimits())
    late.state.start(RunStarted(run_id=RUN), 1)
    waiting = await late.ask(make_question("Now?", timeout_s=0.02))
    late.writer.detach()
    await asyncio.sleep(0.05)
    with pytest.raises(InputClosedError):
        await late.inputs.receive("1", YES)
    late.inputs.close()
    await asyncio.wait({waiting})


async def test_questions_count_in_the_limits_of_the_run() -> None:
    """Their number, their time and their size; what closes them is written in any case."""
    run = await asked_with(max_run_events=2, max_input_wait_s=0.01)
    run.log.let(10)
    asking = await run.ask()
    with pytest.raises(RunTooLargeError):
        await run.inputs.ask(APPROVAL)
    began = time.monotonic()
    with pytest.raises(InputExpired):
        await asking
    assert time.monotonic() - began < 30
    assert run.state.sequence == 3
    run.inputs.close()
    many = await asked_with()
    for _ in range(module.MAX_OPEN):
        await many.ask()
    with pytest.raises(ValueError, match="16 questions of this run are open"):
        await many.inputs.ask(APPROVAL)
    many.inputs.close()
    many.writer.detach()
    run.writer.detach()
