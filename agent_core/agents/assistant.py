"""The agent `assistant`: the configured model where there is one, else the embedded one.

The settings are those of `agent_core.agents.endpoint.settings`; TOKENWIRE_MODEL_URL decides.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agent_core.agents.embedded.assistant import EmbeddedAssistant
from agent_core.agents.endpoint.settings import EndpointSettings
from agent_core.agents.events import AgentEvent, RunRequest

if TYPE_CHECKING:
    from agent_core.agents.endpoint.assistant import EndpointAssistant


async def configured_model(settings: EndpointSettings) -> EndpointAssistant | None:
    """Return an agent that answers with the configured model, not yet entered; None where there is no model.

    Args:
        settings: Where the model is, and what it is offered.
    """
    if settings.url is None:
        return None
    # Loaded only now, and beside the event loop: it takes seconds.
    module = await asyncio.to_thread(importlib.import_module, "agent_core.agents.endpoint.assistant")
    model: EndpointAssistant = module.EndpointAssistant(settings)
    return model


class Assistant:
    """An agent that answers with the model that its environment names when it is entered."""

    def __init__(self) -> None:
        self._chosen: EmbeddedAssistant | EndpointAssistant = EmbeddedAssistant()
        self._stack = AsyncExitStack()

    @property
    def model(self) -> str:
        """The model's name."""
        return self._chosen.model

    async def __aenter__(self) -> Self:
        self._chosen = await configured_model(EndpointSettings()) or EmbeddedAssistant()
        await self._stack.enter_async_context(self._chosen)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def __call__(self, request: RunRequest) -> AsyncIterator[AgentEvent | str]:
        """Return the answer's events, as the chosen agent yields them."""
        return self._chosen(request)


assistant = Assistant()
"""What `--agent assistant=agent_core.agents.assistant:assistant` loads."""
