"""`examples/custom-agent`, through a real core."""

from __future__ import annotations

import json

import pytest

from tests.support.core import running_core
from tests.support.processes import ROOT

AGENTS = "countdown=custom_agents:countdown packing=custom_agents:packing"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples" / "custom-agent")


async def test_the_plain_generator_counts_down() -> None:
    """Progress and text come in turn, and the run is done."""
    async with running_core(agent=AGENTS) as core:
        events = await core.events("countdown", "Count down from 3")
    kinds = [event.WhichOneof("payload") for event in events]
    assert kinds == ["run_started", *("progress", "text_delta") * 3, "text_delta", "done"]
    assert events[-1].done.final_message == "3 … 2 … 1 … Lift-off!"


@pytest.mark.parametrize("message", ["Count down", "Count down from 1000000", "0", "9" * 5000, "²"])
async def test_its_refusal_reaches_the_user(message: str) -> None:
    """An AgentError says just what the agent said."""
    async with running_core(agent=AGENTS) as core:
        events = await core.events("countdown", message)
    assert (events[-1].error.code, events[-1].error.message) == (
        *("INVALID_ARGUMENT", "Say a number from 1 to 100."),
    )


async def test_the_pydantic_ai_agent_uses_its_tool() -> None:
    """It is adapted by itself: its model is named, and its tool call is told."""
    async with running_core(agent=AGENTS) as core:
        events = await core.events("packing", "What shall I take to Bergen?", user_id="Ada")
    started, start, result, *_, done = events
    assert started.run_started.model == "scripted"
    assert json.loads(start.tool_start.args_json) == {"city": "Bergen"}
    assert json.loads(result.tool_result.result_json) == "rain in Bergen, Ada."
    assert done.done.final_message.strip() == "Pack an umbrella: rain in Bergen, Ada."
