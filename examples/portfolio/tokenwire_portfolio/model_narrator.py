"""The configured model words the portfolio report; every figure stays the computation's."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from agent_core.agents import Agent, RunRequest, TextDelta
from tokenwire_portfolio.sections import Section

_PROMPT: Final = """\
Write the section “{title}” of a quarterly performance report for investors, in at most six plain sentences.
Take every figure from these facts, in just the form in which they stand here, and say no other number.
No heading, no list, no table: those are made elsewhere.

Facts:
{facts}

A draft to start from:
{draft}"""


class ModelNarrator:
    """Words sections with an agent that answers in text.

    Args:
        agent: The agent; entered by whoever gives it.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def narrate(self, section: Section) -> AsyncGenerator[str]:
        """Yield the model's words for a section, as they come."""
        facts = "\n".join(f"- {name}: {value}" for name, value in section.facts.items())
        prompt = _PROMPT.format(title=section.title, facts=facts, draft=section.draft)
        async with aclosing(self._agent(RunRequest(prompt))) as events:  # type: ignore[type-var] # a generator
            async for event in events:
                if isinstance(event, str):
                    yield event
                elif isinstance(event, TextDelta):
                    yield event.content
