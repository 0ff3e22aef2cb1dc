"""The agent `portfolio`."""

from __future__ import annotations

import asyncio

import pytest

from agent_core.agents import Agent, AgentError, Custom, RunRequest, TextDelta, ToolResult, ToolStart
from agent_core.agents.loading import load_agent, parse_source
from agent_core.runs.agent_stream import close_stream, throw_cancelled
from agent_core.runs.values import encode_json
from tokenwire_portfolio import PortfolioAgent
from tokenwire_portfolio.agent import HELP


async def events_of(agent: Agent, message: str) -> list[object]:
    return [event async for event in agent(RunRequest(message))]


def test_it_is_found_by_its_name() -> None:
    """The package offers it where it is installed, as `make venv` does."""
    source = parse_source("portfolio")
    assert source.package == "tokenwire-portfolio 0.1.0"
    assert isinstance(load_agent(source), PortfolioAgent)


async def test_anything_else_is_told_what_it_can_do(agent: PortfolioAgent) -> None:
    """One short text, without any query."""
    events = await events_of(agent, "Tell me a joke; DROP TABLE holdings")
    assert "".join(map(str, events)) == HELP
    assert not any(isinstance(event, (ToolStart, TextDelta)) for event in events)


async def test_portfolios_are_listed_by_a_query(agent: PortfolioAgent) -> None:
    """All six, from the database."""
    events = await events_of(agent, "list portfolios")
    assert isinstance(events[0], ToolStart)
    text = "".join(event for event in events if isinstance(event, str))
    assert text.count("\n| ") == 8
    assert "| Sakura Opportunities | SAKU | JPY | TWGB |" in text


async def test_it_must_be_entered() -> None:
    """Before and after, runs end with UNAVAILABLE instead of a crash."""
    agent = PortfolioAgent()
    async with agent:
        pass
    with pytest.raises(AgentError) as caught:
        await events_of(agent, "list portfolios")
    assert caught.value.code == "UNAVAILABLE"


@pytest.mark.parametrize(
    "message", ["Calculate NAV for all portfolios", "Generate quarterly performance report"]
)
async def test_it_can_be_cancelled_at_any_event(agent: PortfolioAgent, message: str) -> None:
    """Thrown in at any `yield`, the cancellation comes out, and the next run is whole."""
    whole = await events_of(agent, message)
    for length in range(1, len(whole), max(1, len(whole) // 12)):
        stream = agent(RunRequest(message))
        for _ in range(length):
            await anext(stream)
        await throw_cancelled(stream, asyncio.CancelledError())
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        await close_stream(stream)
    assert await events_of(agent, message) == whole


async def test_it_can_be_cancelled_during_a_query(agent: PortfolioAgent) -> None:
    """A run that waits for the database ends at once, and the database goes on serving."""
    reached = asyncio.Event()

    async def read() -> None:
        async for event in agent(RunRequest("Calculate NAV for all portfolios")):
            if isinstance(event, ToolStart):
                reached.set()

    reading = asyncio.create_task(read())
    await reached.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await events_of(agent, "list portfolios")


async def test_runs_go_on_side_by_side(agent: PortfolioAgent) -> None:
    """Many runs share the one connection, and each has its own numbering."""
    runs = await asyncio.gather(*(events_of(agent, "Calculate NAV for all portfolios") for _ in range(8)))
    assert all(run == runs[0] for run in runs)


@pytest.mark.parametrize(
    "message", ["Calculate NAV for all portfolios", "Generate quarterly performance report"]
)
async def test_what_it_yields_is_json(agent: PortfolioAgent, message: str) -> None:
    """The core can encode the arguments, results and data of every event, each in less than 8 KiB."""
    for event in await events_of(agent, message):
        if isinstance(event, ToolStart):
            assert len(encode_json(event.args)) < 8192
        elif isinstance(event, ToolResult):
            assert len(encode_json(event.result)) < 8192
        elif isinstance(event, Custom):
            assert len(encode_json(event.data)) < 8192
