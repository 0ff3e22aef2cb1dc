"""Two agents of one's own: a plain generator, and an `Agent` of Pydantic AI. Neither needs a key."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelMessage, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from agent_core.agents import AgentError, AgentEvent, Progress, RunRequest

MOST = 100


async def countdown(request: RunRequest) -> AsyncIterator[AgentEvent | str]:
    """Count down from the number in the message. A yielded `str` is a piece of the answer."""
    found = re.search(r"\d+", request.message, re.ASCII)
    start = int(found[0]) if found and len(found[0]) <= len(str(MOST)) else 0
    if not 0 < start <= MOST:
        raise AgentError("INVALID_ARGUMENT", f"Say a number from 1 to {MOST}.")
    for number in range(start, 0, -1):
        yield Progress(100 * (start - number) / start, f"{number} to go")
        yield f"{number} … "
        await asyncio.sleep(0.05)  # where a real agent waits
    yield "Lift-off!"


async def model(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    """Stand in for a model: ask for the forecast, then answer."""
    del info
    last = messages[-1].parts[-1]
    if isinstance(last, UserPromptPart):
        city = str(last.content).split()[-1].strip("?.!") or "Oslo"
        yield {0: DeltaToolCall("forecast", f'{{"city": "{city}"}}', tool_call_id="forecast-1")}
    elif isinstance(last, ToolReturnPart):
        for word in f"Pack an umbrella: {last.content}".split(" "):
            yield f"{word} "


packing: Agent[RunRequest, str] = Agent(
    FunctionModel(stream_function=model, model_name="scripted"),  # or "openai:gpt-5", with OPENAI_API_KEY
    deps_type=RunRequest,  # so that tools get the request as their deps
    instructions="You help people pack.",
)


@packing.tool
async def forecast(context: RunContext[RunRequest], city: str) -> str:
    """Return tomorrow's weather in a city."""
    asked_by = context.deps.user_id or "somebody"
    await asyncio.sleep(0.05)  # where a real tool asks a weather service
    return f"rain in {city}, {asked_by}."
