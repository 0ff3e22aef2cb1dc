"""How an answer ended, from the words of all providers."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from agent_core.agents.events import FinishReasonName
from agent_core.agents.model_failures import BROKEN, CUT_OFF, FILTERED, ModelCallError

Ending: TypeAlias = Literal["stop", "length", "tool_call", "content_filter", "error"]
"""How an answer ends, in Pydantic AI's words."""

_WORDS: Final[dict[Ending, tuple[str, ...]]] = {
    "stop": (
        *("stop", "stop_sequence", "stop_token", "stopped", "end", "end_turn", "end_of_turn"),
        *("eos", "eos_token", "eos_found", "complete", "completed", "finish", "finished", "done"),
    ),
    "length": (
        *("length", "max_tokens", "max_token", "max_length", "model_length", "max_len", "token_limit"),
        *("max_output", "max_output_tokens", "max_completion_tokens", "max_new_tokens", "max_context"),
        *("context_length", "max_context_length", "context_length_exceeded", "context_window_exceeded"),
        *("model_context_window_exceeded", "error_limit"),
    ),
    "tool_call": (
        *("tool_calls", "tool_call", "tool_use", "tool", "tools", "function_call", "function_calls"),
        *("function",),
    ),
    "content_filter": (
        *("content_filter", "content_filtered", "content_filter_stop", "filtered", "safety", "image_safety"),
        *("recitation", "blocklist", "blocked", "prohibited_content", "spii", "sensitive", "moderation"),
        *("guardrail_intervened", "guardrails", "refusal", "error_toxic", "flagged"),
    ),
    "error": (
        *("error", "failed", "network_error", "server_error", "internal_error", "internal_server_error"),
        *("malformed_function_call",),
    ),
}
"""What providers say at the end of an answer, in lower case: OpenAI, Azure, Mistral, Google, Anthropic,
Bedrock, Cohere, DeepSeek, Zhipu, Hugging Face, IBM, vLLM, SGLang, Ollama, llama.cpp.

What is missing is no end: `abort`, `cancelled`, `timeout`, `time_limit`, `insufficient_system_resource`, and
any word that nobody knows here. An answer that ends so was cut off.

Sources: https://platform.openai.com/docs/api-reference/chat/streaming, https://api-docs.deepseek.com/api/create-chat-completion,
https://docs.mistral.ai/api/, https://ai.google.dev/api/generate-content#FinishReason,
https://docs.anthropic.com/en/api/handling-stop-reasons, https://docs.cohere.com/reference/chat-stream
"""

_ENDINGS: Final[dict[str, Ending]] = {word: ending for ending, words in _WORDS.items() for word in words}
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PREFIXES: Final = ("finish_reason_", "stop_reason_", "reason_")


def ending_of(word: str) -> Ending | None:
    """Return what a provider's finish reason means; None for an answer that was cut off.

    Args:
        word: The provider's word, in any case: `max_tokens`, `MAX_TOKENS`, `maxTokens`,
        `FINISH_REASON_MAX_TOKENS`.
    """
    plain = _HUMP.sub("_", word.strip().rpartition(".")[2]).lower().replace("-", "_").replace(" ", "_")
    for prefix in _PREFIXES:
        plain = plain.removeprefix(prefix)
    return _ENDINGS.get(plain)


def finish_of(ending: Ending | None, word: object) -> FinishReasonName:
    """Return how a run finishes whose last answer ended so.

    Args:
        ending: What the provider's word means; None for one that is no end.
        word: The provider's own, for the log.

    Raises:
        ModelCallError: The answer was cut off or withheld, or its provider failed.
    """
    kind = {None: CUT_OFF, "content_filter": FILTERED, "error": BROKEN}.get(ending)
    if kind is not None:
        raise ModelCallError(kind, f"finish reason {word!r}")
    return "length" if ending == "length" else "stop"
