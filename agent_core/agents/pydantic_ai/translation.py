"""Pydantic AI's events as the events of an agent. No I/O, no waiting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pydantic_core
from pydantic_ai.messages import (
    BaseToolCallPart,
    BaseToolReturnPart,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    NativeToolCallPart,
    NativeToolReturnPart,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    UserPromptPart,
)

from agent_core.agents.events import (
    AgentEvent,
    JsonText,
    JsonValue,
    ReasoningDelta,
    TextDelta,
    ToolResult,
    ToolStart,
    Turn,
)
from agent_core.agents.foreign import shown


class NotJsonError(Exception):
    """A tool returned what JSON can't hold."""


class Translation:
    """The events of one run, fed with Pydantic AI's in order.

    Each of theirs gives one of ours or none; text and reasoning go through as they come, also with half a
    character at their end: the run puts it together with the other half.
    """

    def __init__(self) -> None:
        self._said = ""
        self._paragraph = False
        self._seen: dict[str, int] = {}
        self._open: dict[str, str] = {}

    def feed(self, event: object) -> AgentEvent | None:
        """Return what an event is to the run's followers, if anything.

        `FinalResultEvent` is nothing: it comes with the first text, even before a later tool call.
        """
        match event:
            case (
                PartDeltaEvent(delta=TextPartDelta(content_delta=text))
                | PartStartEvent(part=TextPart(content=text))
            ):
                return self._text(text) if text else None
            case (
                PartDeltaEvent(delta=ThinkingPartDelta(content_delta=str(text)))
                | PartStartEvent(part=ThinkingPart(content=text))
            ):
                return ReasoningDelta(text) if text else None
            case FunctionToolCallEvent(part=call) | PartEndEvent(part=NativeToolCallPart() as call):
                return self._start(call)
            case (
                FunctionToolResultEvent(part=returned)
                | PartStartEvent(part=NativeToolReturnPart() as returned)
            ):
                return self._result(returned)
            case _:
                return None

    def _text(self, text: str) -> TextDelta:
        """Return a piece of the answer. What is said after tools were used is a new paragraph."""
        if self._paragraph and self._said and not self._said.isspace():
            text = f"\n\n{text}"
        self._paragraph = False
        self._said = text[-1]
        return TextDelta(text)

    def _start(self, call: BaseToolCallPart) -> ToolStart:
        """Return the start of a tool call, under an id that no other call of the run has.

        Providers only have to keep ids apart within one answer, and some begin anew in each.
        """
        given = sound(call.tool_call_id)
        count = self._seen[given] = self._seen.get(given, 0) + 1
        call_id = self._open[given] = given if count == 1 else f"{given}#{count}"
        self._paragraph = True
        return ToolStart(call_id, sound(call.tool_name), shown(arguments(call.args)))

    def _result(self, returned: BaseToolReturnPart[Any]) -> ToolResult:
        """Return the end of a tool call."""
        given = sound(returned.tool_call_id)
        content: object = returned.content
        try:
            result: JsonValue = sound(content) if isinstance(content, str) else to_json(content)
        except NotJsonError as error:
            result = str(error)
        call_id, failed = self._open.pop(given, given), returned.outcome != "success"
        return ToolResult(call_id, sound(returned.tool_name), shown(result), is_error=failed)


def messages_of(history: Sequence[Turn]) -> list[ModelMessage]:
    """Return a session's earlier turns as Pydantic AI's messages."""
    return [
        ModelRequest(parts=[UserPromptPart(turn.content)])
        if turn.role == "user"
        else ModelResponse(parts=[TextPart(turn.content)])
        for turn in history
    ]


def to_json(value: object) -> JsonText:
    """Return a value as JSON text. NaN and the infinities, which JSON does not have, become null.

    Args:
        value: Anything that Pydantic can encode, dataclasses, decimals and days among them.

    Raises:
        NotJsonError: JSON can't hold it.
    """
    try:
        return JsonText(pydantic_core.to_json(value, inf_nan_mode="null").decode())
    except (TypeError, ValueError, RecursionError) as error:  # PydanticSerializationError is a ValueError
        raise NotJsonError(f"The tool returned a {type(value).__qualname__}, which is not JSON.") from error


def arguments(args: str | dict[str, Any] | None) -> JsonValue:
    """Return a tool call's arguments; text that is not JSON as a string."""
    if args is None:
        return {}
    if not isinstance(args, str):
        return to_json(args)
    text = sound(args) or "{}"
    try:
        pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError:
        return text
    return JsonText(text)


def sound(text: str) -> str:
    """Return a text that UTF-8 can hold: a model's JSON may name half of a surrogate pair, or both apart."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
