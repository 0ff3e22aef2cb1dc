"""What the engine's chunks mean, as the agent's events. No I/O, no threads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, TypeAlias

from agent_core.agents.events import AgentError, Finish, TextDelta, Usage

log = logging.getLogger(__name__)

Chunk: TypeAlias = Mapping[str, Any]
"""An OpenAI `chat.completion.chunk`, with llama.cpp's additions."""


class ContextOverflowError(AgentError):
    """The conversation is longer than the model can read."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(
            "INVALID_ARGUMENT",
            f"The conversation is too long for the embedded model: it has {tokens} tokens, "
            f"and the model can read {limit}.",
            details={"reason": "CONTEXT_OVERFLOW", "tokens": str(tokens), "limit": str(limit)},
        )


class Answer:
    """One answer, fed with the engine's chunks in order."""

    def __init__(self) -> None:
        self._tokens = 0
        self._reason: str | None = None
        self._usage: Usage | None = None

    def feed(self, chunk: Chunk) -> TextDelta | None:
        """Return the piece of text that the chunk adds, if any.

        Most pieces are one token. A character whose bytes are spread over several tokens comes
        when it is whole, and its piece counts them all.

        Raises:
            AgentError: The chunk says that the engine failed.
        """
        if "error" in chunk:
            raise _error(chunk["error"])
        if usage := chunk.get("usage"):
            self._usage = Usage(usage["prompt_tokens"], usage["completion_tokens"])
        for choice in chunk.get("choices", ()):
            self._reason = choice.get("finish_reason") or self._reason
            if text := choice["delta"].get("content"):
                return TextDelta(text, self._count(chunk))
        return None

    def finish(self) -> Finish:
        """Return how the answer ended, once there are no more chunks.

        Raises:
            AgentError: The engine left off without a finish reason.
        """
        if self._reason is None:
            text = "The embedded model stopped before its answer was complete."
            raise AgentError("UNAVAILABLE", text, retryable=True)
        return Finish("length" if self._reason == "length" else "stop", self._usage)

    def _count(self, chunk: Chunk) -> int:
        """Return how many tokens were made since the last piece, this one's included."""
        made: int = chunk.get("timings", {}).get("predicted_n", self._tokens + 1)
        count = max(1, made - self._tokens)
        self._tokens = made
        return count


def _error(error: Mapping[str, Any]) -> AgentError:
    """Return what the engine's error says to the user."""
    if error.get("type") == "exceed_context_size_error":
        return ContextOverflowError(error["n_prompt_tokens"], error["n_ctx"])
    log.error("The embedded model's engine failed: %s", error)
    return AgentError("INTERNAL", "The embedded model failed.")
