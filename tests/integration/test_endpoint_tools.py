"""The assistant's tools with a configured model, against a scripted endpoint: a fake behind a real socket."""

from __future__ import annotations

import json

import pytest

from agent_core.agents import (
    Finish,
    ToolResult,
    ToolStart,
    Usage,
)
from agent_core.agents.loading import AgentLoadError
from tests.support.endpoint_assistant import SUM, TOOLS, assistant_with, failed, text_of, told
from tests.support.scripted_endpoint import (
    MODEL,
    calls,
    says,
)
from tests.support.spans import Spans, spans
from tests.support.tool_sets import OPEN

__all__ = ["spans"]


async def test_tools_are_called_and_shown(spans: Spans) -> None:
    """Two rounds with real tools: a shop and the calculator answer, and the model gets their words."""
    script = (
        calls(("list_fruits", "{}"), SUM, text="Let me see."),
        calls(SUM),
        says("There", " you are."),
    )
    async with assistant_with(*script, tools=TOOLS) as (assistant, endpoint):
        events = await told(assistant)
        assert {tool["function"]["name"] for tool in endpoint.asked[0].body["tools"]} == {
            *("calculate", "list_fruits", "price")
        }
        returned = [message for message in endpoint.messages() if message["role"] == "tool"]
    starts = [event for event in events if isinstance(event, ToolStart)]
    results = {event.call_id: event for event in events if isinstance(event, ToolResult)}
    assert [start.tool for start in starts] == ["list_fruits", "calculate", "calculate"]
    # The endpoint begins to count anew in each answer; a run's followers must not see one id twice.
    assert [start.call_id for start in starts] == ["call_0", "call_1", "call_0#2"]
    assert [json.loads(str(start.args)) for start in starts][1:] == [{"expression": "17 * 23"}] * 2
    assert not any(result.is_error for result in results.values())
    assert results["call_1"].result == "391"
    assert json.loads(str(results["call_0"].result)) == ["apple", "pear"]
    assert len(returned) == 3
    assert returned[1]["content"] == "391"
    # What is said after tools is a new paragraph; usage is the sum of three calls.
    assert text_of(events) == "Let me see.\n\nThere you are."
    assert events[-1] == Finish("stop", Usage(21, 9))
    assert len(spans.named(f"chat {MODEL}")) == 3
    assert len(spans.named("execute_tool calculate")) == 2
    finished = [dict(span.attributes or {}) for span in spans.named(f"chat {MODEL}")]
    assert [each["gen_ai.response.finish_reasons"] for each in finished] == [
        *(("tool_calls",), ("tool_calls",), ("stop",))
    ]


async def test_a_tool_that_refuses_tells_the_model_why() -> None:
    """Its words are an error's result for the user too, and the run goes on."""
    script = (
        calls(("calculate", '{"expression":"1/0"}'), ("price", '{"fruit":"plum"}')),
        says("I could not."),
    )
    async with assistant_with(*script, tools=TOOLS) as (assistant, _):
        events = await told(assistant)
    results = [event for event in events if isinstance(event, ToolResult)]
    assert all(result.is_error for result in results)
    assert "divides by zero" in str(results)
    assert "There is no plum, there are apple, pear." in str(results)
    assert text_of(events) == "I could not."


@pytest.mark.parametrize("arguments", ["{}", '{"expression":', '{"expression":[1]}', "nonsense"])
async def test_wrong_arguments_are_told_to_the_model(arguments: str) -> None:
    """It may try again; what it said is shown as it was."""
    script = (calls(("calculate", arguments)), calls(SUM), says("391."))
    async with assistant_with(*script, tools=TOOLS) as (assistant, _):
        events = await told(assistant)
    results = [event for event in events if isinstance(event, ToolResult)]
    assert [result.is_error for result in results] == [True, False]
    assert text_of(events) == "391."


async def test_a_model_that_never_gets_its_calls_right_ends_the_run() -> None:
    """After two more attempts; no call of an unknown tool goes on for ever."""
    script = [calls(("no_such_tool", "{}"))] * 5
    async with assistant_with(*script, tools=TOOLS) as (assistant, endpoint):
        _, error = await failed(assistant)
        assert (error.code, error.details["reason"]) == ("INTERNAL", "MODEL_MISBEHAVED")
        assert len(endpoint.asked) == 3


async def test_a_run_has_only_so_many_tool_calls() -> None:
    """One more ends the run as `tool_limit`: each call has its result, and the model is not called again."""
    async with assistant_with(calls(SUM), calls(SUM, SUM), tools=TOOLS, max_tool_calls=2) as (
        assistant,
        endpoint,
    ):
        events = await told(assistant)
        assert len(endpoint.asked) == 2
    results = [event for event in events if isinstance(event, ToolResult)]
    assert sorted(result.is_error for result in results) == [False, False, True]
    assert events[-1] == Finish("tool_limit", Usage(14, 6))


async def test_as_many_tool_calls_as_allowed_are_fine() -> None:
    """The limit is met, not passed: the model gets to answer."""
    async with assistant_with(calls(SUM), says("391."), tools=TOOLS, max_tool_calls=1) as (assistant, _):
        assert (await told(assistant))[-1] == Finish("stop", Usage(14, 6))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("x=tests.support.nothing:x", "tool set 'x' (tests.support.nothing:x): there is no module"),
        (
            "x=tests.support.tool_sets:PRICES",
            "tool set 'x' (tests.support.tool_sets:PRICES) can't be opened: ",
        ),
        ("x=tests.support.tool_sets:price", "tool set 'x' (tests.support.tool_sets:price) can't be opened: "),
        ("calculator x=tests.support.tool_sets:CLASHING", "there is a tool 'calculate' already"),
    ],
)
async def test_a_tool_set_that_can_not_be_used_is_said(named: str, said: str) -> None:
    """The assistant does not start without a tool that it was given."""
    with pytest.raises(AgentLoadError) as raised:
        async with assistant_with(tools=named):
            pass
    assert said in str(raised.value)


async def test_tool_sets_are_closed_with_the_assistant() -> None:
    """And where a later one can't be used."""
    async with assistant_with(tools=TOOLS):
        assert OPEN == ["shop"]
    assert OPEN == []
    with pytest.raises(AgentLoadError):
        async with assistant_with(tools=f"{TOOLS} x=tests.support.nothing:x"):
            pass
    assert OPEN == []
