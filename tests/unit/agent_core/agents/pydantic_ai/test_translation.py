"""Pydantic AI's events as ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic_ai.messages import (
    FinalResultEvent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
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
    ToolCallPart,
    ToolCallPartDelta,
    ToolReturnPart,
)

from agent_core.agents import JsonText, ReasoningDelta, TextDelta, ToolResult, ToolStart, Turn
from agent_core.agents.foreign import MAX_SHOWN
from agent_core.agents.pydantic_ai.translation import (
    NotJsonError,
    Translation,
    arguments,
    messages_of,
    to_json,
)


def start(text: str) -> PartStartEvent:
    return PartStartEvent(index=0, part=TextPart(text))


def delta(text: str) -> PartDeltaEvent:
    return PartDeltaEvent(index=0, delta=TextPartDelta(text))


def call(call_id: str = "a", args: Any = None) -> FunctionToolCallEvent:
    return FunctionToolCallEvent(ToolCallPart("look", args, call_id), args_valid=True)


def result(call_id: str = "a", content: Any = None, **more: Any) -> FunctionToolResultEvent:
    return FunctionToolResultEvent(ToolReturnPart("look", content, call_id, **more))


def told(*events: object) -> list[Any]:
    translation = Translation()
    return [ours for event in events if (ours := translation.feed(event)) is not None]


def test_text_and_reasoning_go_through_as_they_come() -> None:
    """The part's beginning and each delta; the beginning of an empty one is nothing."""
    thinking = PartStartEvent(index=0, part=ThinkingPart("Hm"))
    more = PartDeltaEvent(index=0, delta=ThinkingPartDelta(content_delta="."))
    signature = PartDeltaEvent(index=0, delta=ThinkingPartDelta(signature_delta="x"))
    assert told(thinking, more, signature, start(""), delta("Yes"), delta("")) == [
        ReasoningDelta("Hm"),
        ReasoningDelta("."),
        TextDelta("Yes"),
    ]


def test_a_final_result_is_no_end_and_no_event() -> None:
    """It comes with the first text; a tool call may follow."""
    assert told(start("So"), FinalResultEvent(tool_name=None, tool_call_id=None), delta(" far")) == [
        TextDelta("So"),
        TextDelta(" far"),
    ]


def test_arguments_are_shown_when_the_call_is_whole() -> None:
    """Not in pieces, as they are written."""
    piece = PartDeltaEvent(index=0, delta=ToolCallPartDelta(args_delta="{"))
    assert told(piece, call(args='{"a": 1}')) == [ToolStart("a", "look", JsonText('{"a": 1}'))]


def test_text_after_tools_is_a_new_paragraph() -> None:
    """Otherwise it would be glued to what was said before them. White space that is there is enough."""
    tool = (call(), result())
    assert [each.content for each in told(start("So"), *tool, start("Then"), delta("."))[::3]] == [
        "So",
        "\n\nThen",
    ]
    assert told(start("So\n"), *tool, start("Then"))[-1] == TextDelta("Then")
    assert told(*tool, start("Then"))[-1] == TextDelta("Then")


def test_each_call_has_an_id_of_its_own() -> None:
    """Also where a provider begins to count anew in every answer."""
    events = told(call("a"), call("b"), result("b"), result("a"), call("a"), result("a"))
    assert [event.call_id for event in events] == ["a", "b", "b", "a", "a#2", "a#2"]


@pytest.mark.parametrize("outcome", ["failed", "retried", "denied", "interrupted"])
def test_any_end_but_success_is_an_error(outcome: str) -> None:
    """The model is told the same."""
    assert told(result(content="No.", outcome=outcome)) == [ToolResult("a", "look", "No.", is_error=True)]


def test_tools_of_the_provider_are_shown_too() -> None:
    """They run there, and come as parts of the answer."""
    began = PartEndEvent(index=0, part=NativeToolCallPart("web_search", {"q": "x"}, "n"))
    ended = PartStartEvent(index=1, part=NativeToolReturnPart("web_search", ["y"], "n"))
    assert told(began, ended) == [
        ToolStart("n", "web_search", JsonText('{"q":"x"}')),
        ToolResult("n", "web_search", JsonText('["y"]')),
    ]


def test_half_a_surrogate_pair_does_not_end_a_run() -> None:
    """In text it waits for the other half, which the run joins; in what is told at once it is replaced."""
    assert told(start("a\ud83d"), call(args='{"a":"\ud83d","b":"\ud83d\ude00"}')) == [
        TextDelta("a\ud83d"),
        ToolStart("a", "look", JsonText('{"a":"\ufffd","b":"\U0001f600"}')),
    ]


@dataclass
class Price:
    day: date
    amount: Decimal


def test_results_are_json() -> None:
    """With what Pydantic can encode in them; NaN, which JSON does not have, is null."""
    value = [Price(date(2026, 1, 2), Decimal("1.10")), float("nan"), 12345678901234567890]
    assert to_json(value) == '[{"day":"2026-01-02","amount":"1.10"},null,12345678901234567890]'


def test_what_is_no_json_is_said() -> None:
    """By its type, without its value."""
    loop: list[Any] = []
    loop.append(loop)
    for value in (object(), {1: object()}, loop, b"\xff"):
        with pytest.raises(NotJsonError, match="which is not JSON"):
            to_json(value)
    assert told(result(content=object())) == [
        ToolResult("a", "look", "The tool returned a object, which is not JSON.")
    ]


@pytest.mark.parametrize("text", ["{", "nonsense", '{"a": NaN}', "[" * 1000 + "]" * 1000])
def test_arguments_that_are_no_json_are_shown_as_text(text: str) -> None:
    """The run goes on: the model is told that they are wrong."""
    shown = arguments(text)
    assert shown == text
    assert not isinstance(shown, JsonText)


def test_no_arguments_are_an_empty_object() -> None:
    """However the provider says that there are none."""
    assert [arguments(None), arguments(""), arguments({})] == [{}, "{}", "{}"]


def test_a_result_that_no_event_can_hold_is_not_shown() -> None:
    """Its size is."""
    (event,) = told(result(content="x" * (MAX_SHOWN + 1)))
    assert event.result == f"{MAX_SHOWN + 1} characters: too many to show here."
    (event,) = told(result(content="\0" * MAX_SHOWN))  # JSON escapes each
    assert event.result == f"{MAX_SHOWN} characters: too many to show here."
    (event,) = told(result(content="x" * MAX_SHOWN))
    assert event.result == "x" * MAX_SHOWN


def test_a_session_is_what_was_said() -> None:
    """The user's turns are requests, the assistant's are responses."""
    messages = messages_of((Turn("user", "Hi"), Turn("assistant", "Hello")))
    assert [type(message) for message in messages] == [ModelRequest, ModelResponse]
    assert [message.parts[0].content for message in messages] == ["Hi", "Hello"]  # type: ignore[union-attr]
