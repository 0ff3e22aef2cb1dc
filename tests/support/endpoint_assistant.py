"""The assistant with a configured model, in front of a scripted endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from agent_core.agents import (
    AgentError,
    RunRequest,
    TextDelta,
)
from agent_core.agents.endpoint.assistant import EndpointAssistant
from agent_core.agents.endpoint.settings import EndpointSettings
from tests.support.scripted_endpoint import (
    KEY,
    Endpoint,
    Step,
    running_endpoint,
)

WITHIN_S = 20.0
"""Generous: what it bounds takes milliseconds."""

TOOLS = "calculator shop=tests.support.tool_sets:shop"
"""A built-in tool set, and one of an operator's own."""

SUM = ("calculate", '{"expression":"17 * 23"}')


@asynccontextmanager
async def assistant_with(
    *script: Step, within_s: float = WITHIN_S, **settings: Any
) -> AsyncIterator[tuple[EndpointAssistant, Endpoint]]:
    given = {"key": SecretStr(KEY), "tools": "off", **settings}
    async with (
        running_endpoint(*script) as endpoint,
        EndpointAssistant(EndpointSettings(url=endpoint.url, **given)) as assistant,
        asyncio.timeout(within_s),
    ):
        yield assistant, endpoint


async def told(assistant: EndpointAssistant, message: str = "Hi", **more: Any) -> list[Any]:
    return [event async for event in assistant(RunRequest(message, **more))]


async def failed(assistant: EndpointAssistant) -> tuple[list[Any], AgentError]:
    """Return what was said before the failure, and the failure."""
    events: list[Any] = []
    try:
        async for event in assistant(RunRequest("Hi")):
            events.append(event)  # noqa: PERF401 # what came before the failure counts
    except AgentError as error:
        return events, error
    raise AssertionError(f"no failure after {events}")


def text_of(events: list[Any]) -> str:
    return "".join(event.content for event in events if isinstance(event, TextDelta))
