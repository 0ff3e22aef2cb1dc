"""The agent `assistant` without its model."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_core.agents import AgentError, RunRequest
from agent_core.agents.embedded import ModelSettings
from agent_core.agents.embedded.assistant import EmbeddedAssistant, newer_half


async def first_error(agent: EmbeddedAssistant) -> AgentError:
    with pytest.raises(AgentError) as caught:
        await anext(aiter(agent(RunRequest("Hello"))))
    return caught.value


async def test_a_model_that_cannot_be_had_does_not_stop_the_core(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Entering succeeds, the log says what to do, and runs end with UNAVAILABLE."""
    blocked = tmp_path / "file"
    blocked.touch()
    async with EmbeddedAssistant(ModelSettings(cache=blocked / "cache")) as agent:
        error = await first_error(agent)
    assert error.code == "UNAVAILABLE"
    assert error.message == "The embedded model is not available: its cache folder can't be used."
    assert "TOKENWIRE_MODEL_CACHE" in caplog.text


async def test_an_agent_that_was_not_entered_says_so() -> None:
    """A run before the model was loaded ends with UNAVAILABLE, not with a crash."""
    agent = EmbeddedAssistant()
    assert (await first_error(agent)).code == "UNAVAILABLE"
    assert agent.active == 0


@pytest.mark.parametrize(
    ("roles", "kept"), [("uu", "u"), ("uau", "u"), ("uauau", "u"), ("uauauau", "uau"), ("aaaa", "a")]
)
def test_the_newer_half_begins_with_the_user(roles: str, kept: str) -> None:
    """A shortened conversation is shorter, keeps its last message, and begins with the user's word."""
    names = {"u": "user", "a": "assistant"}
    messages = [{"role": names[role], "content": str(index)} for index, role in enumerate(roles)]
    half = newer_half(messages)
    assert "".join(message["role"][0] for message in half) == kept
    assert half[-1] == messages[-1]
