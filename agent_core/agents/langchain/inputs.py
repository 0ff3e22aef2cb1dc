"""What a runnable wants to be asked: messages, a text, or a mapping that holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from agent_core.agents.events import RunRequest
from agent_core.agents.foreign import NotAdaptableError
from agent_core.agents.langchain.messages import history_of, messages_of

Ask: TypeAlias = Callable[[RunRequest], Any]
"""Makes the runnable's input of a request."""

HISTORY: Final = ("chat_history", "history")
"""What prompts call the messages that came before."""

QUESTION: Final = ("input", "question", "message", "query", "text", "prompt", "user_input")
"""What prompts call the question, the likeliest first."""

LINES: Final = """\
    async def my_agent(request):
        async for text in chain.astream({"question": request.message}):  # as your chain wants it
            yield text
"""


def ask_of(runnable: Any) -> Ask:
    """Return how a runnable is asked.

    Raises:
        NotAdaptableError: It wants what a request does not hold.
    """
    schema: Mapping[str, Any] = runnable.get_input_jsonschema()
    wanted: Mapping[str, Any] = schema.get("properties") or {}
    if wanted and "root" not in wanted:  # what a step that takes anything counts as, among steps side by side
        return _mapping(wanted, set(schema.get("required", wanted)))
    return messages_of if _takes_messages(schema) else lambda request: request.message


def _mapping(wanted: Mapping[str, Any], required: set[str]) -> Ask:
    """Return how a mapping with these keys is filled."""
    history = next((name for name in HISTORY if name in wanted), "")
    messages = "messages" if "messages" in wanted else ""
    others = [name for name in wanted if name in required and name not in {history, messages}]
    likely = [name for name in QUESTION if name in wanted]
    question = others[0] if len(others) == 1 else next(iter(likely), "")
    missing = sorted(set(others) - {question})
    if missing or not (question or messages):
        raise NotAdaptableError(
            f"it wants {', '.join(missing or sorted(wanted))}, which a request does not hold. "
            "Three lines make an agent of it, which --agent then names",
            LINES,
        )

    def ask(request: RunRequest) -> dict[str, Any]:
        before = {history: history_of(request)} if history else {}
        # A prompt with both has its own place for the question.
        turns = {messages: history_of(request) if question else messages_of(request)} if messages else {}
        return {**before, **turns, **({question: request.message} if question else {})}

    return ask


def _takes_messages(schema: Mapping[str, Any]) -> bool:
    """Return whether an input may be a list of messages: that of a chat model is one of several things."""
    return any(choice.get("type") == "array" for choice in schema.get("anyOf", ()))
