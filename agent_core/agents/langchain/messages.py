"""LangChain's messages: those of a session, and what one of them says."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from agent_core.agents.events import AgentEvent, FinishReasonName, RunRequest, Usage
from agent_core.agents.finish_reasons import ending_of, finish_of
from agent_core.agents.foreign import Telling
from agent_core.agents.model_failures import ModelCallError


def history_of(request: RunRequest) -> list[Any]:
    """Return the session's earlier turns."""
    messages: Any = importlib.import_module("langchain_core.messages")
    kinds = {"user": messages.HumanMessage, "assistant": messages.AIMessage}
    return [kinds[turn.role](turn.content) for turn in request.history]


def messages_of(request: RunRequest) -> list[Any]:
    """Return the session's earlier turns and what the user says now."""
    messages: Any = importlib.import_module("langchain_core.messages")
    return [*history_of(request), messages.HumanMessage(request.message)]


def is_message(value: object) -> bool:
    """Return whether a value is a message, or a chunk of one."""
    return hasattr(value, "content") and hasattr(value, "type") and hasattr(value, "additional_kwargs")


def text_of(message: Any) -> str:
    """Return the text of a message or a chunk: of one with parts, that of its texts."""
    if isinstance(message.content, str):
        return message.content
    return "".join(part.get("text", "") for part in _parts(message) if part.get("type") == "text")


def reasoning_of(message: Any) -> str:
    """Return what the model thought in a message or a chunk."""
    if isinstance(message.content, str):
        said = message.additional_kwargs.get("reasoning_content")
        return said if isinstance(said, str) else ""
    return "".join(part.get("reasoning", "") for part in _parts(message) if part.get("type") == "reasoning")


ENDS: Final = ("finish_reason", "stop_reason", "stopReason", "done_reason")
"""What the libraries of providers call the finish reason: OpenAI's, Anthropic's, Bedrock's, Ollama's."""


class ModelTally:
    """What the models of one run have used, and how the last answer ended."""

    def __init__(self) -> None:
        self._word = ""
        self._tokens: dict[str, int] = {}

    @property
    def usage(self) -> Usage | None:
        """Tokens used over all model calls; None where no model has told."""
        if not self._tokens:
            return None
        return Usage(self._tokens.get("input_tokens"), self._tokens.get("output_tokens"))

    def finish(self) -> FinishReasonName:
        """Return how the run finishes: as its last answer did; `stop` where no model has told.

        Raises:
            ModelCallError: The last answer was cut off or withheld, or its provider failed. It is in the log.
        """
        try:
            return finish_of(ending_of(self._word) if self._word else "stop", self._word)
        except ModelCallError as error:
            error.log()
            raise

    def count(self, message: Any) -> None:
        """Take in the tokens of a message or a chunk. Chunks add up: so the library has them."""
        used = getattr(message, "usage_metadata", None)
        for name in ("input_tokens", "output_tokens"):
            if isinstance(used, Mapping) and isinstance(tokens := used.get(name), int | float):
                self._tokens[name] = self._tokens.get(name, 0) + max(0, round(tokens))

    def end(self, given: Any) -> bool:
        """Take in how an answer ended; return whether a message, a chunk or a model's result says so."""
        told = getattr(given, "response_metadata", None) or getattr(given, "generation_info", None)
        word = _end_in(told) if isinstance(told, Mapping) else ""
        self._word = word or self._word
        return word != ""


def tool_result(telling: Telling, call_id: str, tool: str, output: Any) -> Iterator[AgentEvent]:
    """Yield the end of a tool call: its output may be a message of its own."""
    if is_message(output):
        failed = getattr(output, "status", "") == "error"
        yield from telling.tool_result(call_id, tool, output.content, is_error=failed)
    else:
        yield from telling.tool_result(call_id, tool, output)


def _parts(message: Any) -> list[Mapping[str, Any]]:
    """Return a message's parts in the library's own form, whatever its provider calls them."""
    parts: list[Any] = getattr(message, "content_blocks", None) or message.content
    return [part if isinstance(part, Mapping) else {"type": "text", "text": part} for part in parts]


def _end_in(told: Mapping[str, Any]) -> str:
    """Return the provider's word for how an answer ended; empty where there is none."""
    incomplete = told.get("incomplete_details")  # of OpenAI's Responses
    reasons = [told.get(name) for name in ENDS]
    reasons += [incomplete.get("reason")] if isinstance(incomplete, Mapping) else []
    return next((str(reason) for reason in reasons if reason), "")
