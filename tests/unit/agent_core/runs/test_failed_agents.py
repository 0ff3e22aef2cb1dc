"""What the core's log says of a run whose agent failed, with traces off: where its developer looks."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator

import pytest
from opentelemetry.context import Context

from agent_core.agents import AgentError, AgentEvent, Progress, RunRequest
from agent_core.agents.catalogue import NamedAgent
from agent_core.agents.events import Agent
from agent_core.log.contract import START
from agent_core.log.memory.log import MemoryLog
from agent_core.runs.limits import RunLimits
from agent_core.runs.manager import RunManager
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import ON_DISCONNECT_CONTINUE, RunSpec


async def events_of(agent: object) -> tuple[str, list[Event]]:
    """Return a run's id and its events, once it has ended."""
    log = MemoryLog()
    manager = RunManager(log, RunLimits())
    named: NamedAgent = NamedAgent("mine", agent)  # type: ignore[arg-type] # what users write
    run_id = await manager.start(
        RunSpec(message="hi"), named, owner="me", on_disconnect=ON_DISCONNECT_CONTINUE, parent=Context()
    )
    async with asyncio.timeout(20):
        while not (batch := await log.read(run_id, START, 100, 2**20)).complete:
            await asyncio.sleep(0.001)
    return run_id, [Event.FromString(event) for event in batch.events]


def without_trace(record: logging.LogRecord) -> str:
    """Return a line without the trace id that ends it where another test has set up tracing."""
    return re.sub(r" \(trace [0-9a-f]{32}\)$", "", record.getMessage())


async def steps(_: RunRequest) -> AsyncIterator[AgentEvent | str]:
    done = 0.0
    for number in range(6):
        done += 100 / 6
        yield Progress(done, f"step {number + 1} of 6")
    yield "ready"


async def yields_nan(_: RunRequest) -> AsyncIterator[AgentEvent | str]:
    yield "so far"
    yield Progress(float("nan"), "lost")


async def yields_42(_: RunRequest) -> AsyncIterator[object]:
    yield 42


def returns_none(_: RunRequest) -> None:
    return None


async def in_a_group(_: RunRequest) -> AsyncIterator[str]:
    async def lookup() -> None:
        raise AgentError("NOT_FOUND", "There is no such customer.")

    async with asyncio.TaskGroup() as group:
        group.create_task(lookup())
    yield "never"


async def test_steps_that_add_up_to_a_little_more_than_all_are_progress() -> None:
    """100 / 6, six times, is 100.00000000000001."""
    _, events = await events_of(steps)
    assert [round(event.progress.percent, 2) for event in events if event.HasField("progress")][-1] == 100
    assert events[-1].done.final_message == "ready"


@pytest.mark.parametrize(
    ("agent", "said", "line"),
    [
        (yields_nan, "nan is not a percentage: 0 to 100, or None", 2),
        (yields_42, "42 is not an event. Yield a str, or one of TextDelta, ", 1),
        (returns_none, "the agent returned None: return text, or yield events", 0),
    ],
)
async def test_what_an_agent_may_not_yield_is_logged_with_its_line(
    agent: Agent, said: str, line: int, caplog: pytest.LogCaptureFixture
) -> None:
    """In the line's own text beside the run id; the user is told nothing of it."""
    run_id, events = await events_of(agent)
    assert events[-1].error.message == "The agent failed."
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    text = without_trace(record)
    assert text.startswith(f"run {run_id} failed: AGENT_FAILED: {said}")
    first = agent.__code__.co_firstlineno  # type: ignore[attr-defined] # a function
    assert text.endswith(f"({__file__}, line {first + line})")


async def test_an_agent_error_in_a_task_group_is_told_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """With its code and words, and as no fault of the core's."""
    caplog.set_level("INFO")
    run_id, events = await events_of(in_a_group)
    assert (events[-1].error.code, events[-1].error.message) == ("NOT_FOUND", "There is no such customer.")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert f"run {run_id} failed: NOT_FOUND" in map(without_trace, caplog.records)
