"""The agent `assistant` with the model that is embedded in the core.

The model is there so that everything runs at once, not for its answers (see
`agent_core.agents.embedded`): it has 135 million parameters and calls no tools.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

from agent_core.agents.chat_span import ChatSpan
from agent_core.agents.embedded.answer import ContextOverflowError
from agent_core.agents.embedded.engine import Engine
from agent_core.agents.embedded.errors import ModelUnavailableError
from agent_core.agents.embedded.settings import ModelSettings
from agent_core.agents.embedded.weights import SMOLLM2, ensure_weights
from agent_core.agents.events import AgentError, AgentEvent, Finish, RunRequest, TextDelta

log = logging.getLogger(__name__)

SYSTEM: Final = {
    "role": "system",
    "content": "You are a helpful assistant. Answer in English.",
}
"""The model's own default makes it answer "What is the capital of France?" with the names of monuments.
With this text seven plain questions of seven were right, with its default three."""


class EmbeddedAssistant:
    """An agent that streams the embedded model's answer, token by token.

    Entering it fetches the weights if they are missing and loads the model; leaving it cancels
    what runs and unloads. A model that can't be had does not stop the core: the log says what to
    do, and runs end with `UNAVAILABLE`.

    Args:
        settings: The model's settings; read from the environment on entering when None.
    """

    model = SMOLLM2.model

    def __init__(self, settings: ModelSettings | None = None) -> None:
        self._settings = settings
        self._max_tokens = 0
        self._engine: Engine | None = None
        self._reason = "it was not loaded"

    @property
    def active(self) -> int:
        """How many requests are inside the engine."""
        return self._engine.active if self._engine else 0

    async def __aenter__(self) -> Self:
        settings = self._settings or ModelSettings()
        self._max_tokens = settings.max_tokens
        try:
            engine = Engine(await ensure_weights(settings.cache_folder()), settings)
            await engine.load()
        except ModelUnavailableError as error:
            self._reason = error.reason
            log.error(  # noqa: TRY400  (what to do, and no traceback)
                "The embedded model is not available: %s. %s Then start the core again",
                error.reason,
                error.remedy,
            )
        else:
            self._engine = engine
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        engine, self._engine = self._engine, None
        self._reason = "it was unloaded"
        if engine is not None:
            await engine.close()

    async def __call__(self, request: RunRequest) -> AsyncIterator[AgentEvent | str]:
        """Yield the answer to the message, seen after the session's earlier turns.

        Raises:
            AgentError: UNAVAILABLE without a model; INVALID_ARGUMENT for a message that is too long.
        """
        messages = [{"role": turn.role, "content": turn.content} for turn in request.history]
        messages.append({"role": "user", "content": request.message})
        with ChatSpan(self.model, max_tokens=self._max_tokens) as span:
            async with aclosing(self._answer(messages)) as events:
                async for event in events:
                    if isinstance(event, Finish):
                        span.finish(event)
                    else:
                        span.chunk()
                    yield event

    async def _answer(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[TextDelta | Finish]:
        """Yield the engine's answer, leaving out the older half of a conversation while it is too long."""
        if self._engine is None:
            raise AgentError("UNAVAILABLE", f"The embedded model is not available: {self._reason}.")
        while True:
            try:
                chat = self._engine.chat([SYSTEM, *messages], max_tokens=self._max_tokens)
                async with aclosing(chat) as events:
                    async for event in events:
                        yield event
            except ContextOverflowError:  # comes before any text
                if len(messages) == 1:
                    raise
                messages = newer_half(messages)
                log.info("A conversation is too long: only its last %d messages are used", len(messages))
            else:
                return


def newer_half(messages: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """Return the newer half of two or more messages, beginning with one of the user's."""
    half = messages[(len(messages) + 1) // 2 :]
    while len(half) > 1 and half[0]["role"] != "user":
        half = half[1:]
    return half
