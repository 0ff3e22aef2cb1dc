"""The agent `assistant` with the configured model."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from types import NoneType, TracebackType
from typing import Final, Self

from openai import AsyncOpenAI
from pydantic_ai import Agent, Tool

from agent_core.agents.endpoint.client import choose_model, list_models, make_client
from agent_core.agents.endpoint.model import EndpointModel
from agent_core.agents.endpoint.settings import EndpointSettings
from agent_core.agents.endpoint.tools import open_tools
from agent_core.agents.events import AgentError, AgentEvent, RunRequest, Turn
from agent_core.agents.model_failures import CONTEXT_OVERFLOW, ModelCallError
from agent_core.agents.pydantic_ai.adapter import PydanticAgent
from agent_core.agents.pydantic_ai.observer import ToolLimits

log = logging.getLogger(__name__)

INSTRUCTIONS: Final = "You are a helpful assistant. Answer in the language of the question."
TOOL_INSTRUCTIONS: Final = (
    "You have tools. Take every fact that they can look up, and every result of arithmetic, from a tool."
)
TOOL_RETRIES: Final = 2
"""How often a model may call a tool in a wrong way, one call after the other, before the run fails."""


class EndpointAssistant:
    """An agent that streams the configured model's answer, with its reasoning and its tool calls.

    Entering it opens its tools and the connections; leaving it closes them. An endpoint that is away does not
    stop the core: runs end with an error until it is back.

    Args:
        settings: Where the model is, and how to call it. They have a URL.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._client: AsyncOpenAI | None = None
        self._tools: Sequence[Tool[None]] = ()
        self._agent: PydanticAgent | None = None

    @property
    def model(self) -> str:
        """The model's name; empty as long as it is not known."""
        return self._agent.model if self._agent else self._settings.name or ""

    async def __aenter__(self) -> Self:
        settings = self._settings
        async with AsyncExitStack() as stack:
            self._client = await stack.enter_async_context(make_client(settings))
            self._tools = await open_tools(settings.tools, stack)
            self._stack = stack.pop_all()
        try:
            self._agent = self._make_agent(self._client, await list_models(self._client, settings))
        except AgentError as error:
            log.error("The model at %s can't be used yet: %s", settings.url, error.message)  # noqa: TRY400
        else:
            log.info("The model is %s at %s", self.model, settings.url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._agent = self._client = None
        await self._stack.aclose()

    async def __call__(self, request: RunRequest) -> AsyncIterator[AgentEvent | str]:
        """Yield the answer. The older half of a session is left out while the model can't read it all.

        Raises:
            AgentError: There is no model to call.
            ModelCallError: The model call failed, and how.
        """
        agent = await self._ready()
        history = request.history
        while True:
            said = False
            try:
                shorter = RunRequest(message=request.message, history=history)
                async with aclosing(agent.run(shorter)) as events:
                    async for event in events:
                        said = True
                        yield event
            except ModelCallError as error:
                if said or not history or error.reason != CONTEXT_OVERFLOW:
                    raise
                history = newer_half(history)
                log.info("A session is too long: only its last %d turns are used", len(history))
            else:
                return

    async def _ready(self) -> PydanticAgent:
        """Return the agent behind this one, once the model's name is known."""
        if self._client is None:
            raise AgentError("UNAVAILABLE", "The model is not connected.", retryable=True)
        if self._agent is None:
            known = [] if self._settings.name else await list_models(self._client, self._settings)
            self._agent = self._make_agent(self._client, known)
        return self._agent

    def _make_agent(self, client: AsyncOpenAI, known: list[str]) -> PydanticAgent:
        """Return the agent behind this one.

        Args:
            client: The endpoint's client.
            known: The models that the endpoint lists.
        """
        settings = self._settings
        agent = Agent(
            EndpointModel(choose_model(known, settings), client, settings),
            name="assistant",
            # Or nothing: after a tool call many models have nothing to add. See EndpointStream.
            output_type=[str, NoneType],
            instructions=[INSTRUCTIONS, TOOL_INSTRUCTIONS] if self._tools else INSTRUCTIONS,
            tools=self._tools,
            retries={"tools": TOOL_RETRIES},
        )
        limits = ToolLimits(settings.max_tool_calls, settings.tool_timeout_s)
        return PydanticAgent(agent, limits=limits, hide=settings.hide)


def newer_half(history: Sequence[Turn]) -> Sequence[Turn]:
    """Return the newer half of one or more turns, beginning with one of the user's; maybe none."""
    half = history[(len(history) + 1) // 2 :]
    while half and half[0].role != "user":
        half = half[1:]
    return half
