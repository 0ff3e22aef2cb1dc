"""What adapters of other libraries share. The libraries themselves: tests/integration/test_frameworks.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agent_core.agents import ReasoningDelta, TextDelta, ToolResult, ToolStart
from agent_core.agents.foreign import Telling, adapted, json_value
from agent_core.agents.loading import AgentSource, load_agent


class Model(BaseModel):
    a: int = 1


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "json"),
    [
        ({"a": [1, None, "x"]}, {"a": [1, None, "x"]}),
        ('{"a": 1}', {"a": 1}),
        ('{"a": NaN}', {"a": None}),
        ("[1", "[1"),
        ("5", "5"),
        ('"\ud83d"', '"?"'),
        ('{"a": "\\ud83d"}', {"a": "?"}),
        ("plain", "plain"),
        ("\ud83d", "?"),
        (float("nan"), None),
        ({"at": Path("/x"), "of": Model()}, {"at": "/x", "of": {"a": 1}}),
        ({1: "a", (1, 2): "b"}, {"1": "a"}),
        (LOOP, "a list"),
        (Model, str(Model)),
    ],
)
def test_any_value_becomes_what_json_holds(value: object, json: object) -> None:
    """Text that is JSON as what it says; what JSON has not, as text; nothing fails a run."""
    assert json_value(value) == json


def test_what_no_event_can_hold_is_not_shown() -> None:
    """Its size is; and what is too deep to be read stays a text."""
    assert json_value("[" * 100_000) == "[" * 100_000
    for value in ("x" * 2_000_000, "\0" * 250_000):  # JSON escapes the latter
        assert json_value(value) == f"{len(value)} characters: too many to show here."
    for holder in (["x" * 2_000_000], f'["{"x" * 2_000_000}"]'):
        assert json_value(holder) == "2000004 characters: too many to show here."


def test_a_call_is_told_once_and_its_result_with_it() -> None:
    """A result without a beginning gets one; a second result is none; calls without an id are not told."""
    telling = Telling()
    assert [*telling.tool_start("c", "add", '{"a": 1}')] == [ToolStart("c", "add", {"a": 1})]
    assert [*telling.tool_start("c", "add", {})] == []
    assert [*telling.tool_result("c", "", 3)] == [ToolResult("c", "add", 3)]
    assert [*telling.tool_result("c", "add", 3)] == []
    assert [*telling.tool_result("d", "sub", "no", is_error=True)] == [
        ToolStart("d", "sub", None),
        ToolResult("d", "sub", "no", is_error=True),
    ]
    assert [*telling.tool_start("", "add", {})] == []


def test_what_is_said_after_a_tool_begins_a_paragraph() -> None:
    """Not before any text; thoughts are no text, and empty pieces none at all."""
    telling = Telling()
    assert [*telling.tool_result("c", "add", 3), *telling.reasoning(""), *telling.text("")][2:] == []
    assert [*telling.text("So")] == [TextDelta("So")]
    assert [*telling.reasoning("hm")] == [ReasoningDelta("hm")]
    assert [*telling.tool_result("d", "add", 3), *telling.text("3")][2:] == [TextDelta("\n\n3")]
    assert telling.has_text


def test_a_package_of_the_operators_own_may_be_called_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what OpenAI's SDK calls itself; an object of another package of that name is left as it is."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("")
    (tmp_path / "agents" / "agent.py").write_text(
        "class Agent:\n    async def __call__(self, request):\n        yield 'mine'\n\nmine = Agent()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    agent = load_agent(AgentSource("mine", "agents.agent", "mine"))
    assert type(agent).__module__ == "agents.agent"
    for name in ("agents", "agents.agent"):
        del sys.modules[name]


def test_what_is_of_no_known_library_is_left_as_it_is() -> None:
    """Functions, objects, classes."""
    for found in (len, object(), Model):
        assert adapted(found) is found
