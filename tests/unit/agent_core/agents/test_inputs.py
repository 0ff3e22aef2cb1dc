"""What an agent may ask."""

from __future__ import annotations

import math
from typing import Any

import pytest

from agent_core.agents import RunRequest, current_request
from agent_core.agents.inputs import MAX_PROMPT_BYTES, make_question


def test_a_question_says_what_is_asked_and_what_is_accepted() -> None:
    """The options of a choice are a schema too."""
    assert make_question("Delete?").kind == "approval"
    choice = make_question("Which?", "choice", options=("red", "blue"), timeout_s=7)
    assert (choice.schema, choice.schema_json) == ({"enum": ["red", "blue"]}, '{"enum":["red","blue"]}')
    assert choice.timeout_s == 7.0
    assert make_question("Name?", "text").schema_json == ""
    form = make_question("Who?", "json", schema={"type": "object"})
    assert form.schema_json == '{"type":"object"}'


def test_a_question_waits_no_longer_than_it_may() -> None:
    """A shorter one is left as it is."""
    question = make_question("Delete?", timeout_s=60)
    assert question.within(60) is question
    assert question.within(5).timeout_s == 5


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"kind": "color"}, "kind is 'color': use one of approval, choice, text, json"),
        ({"kind": "choice"}, "a choice needs options"),
        ({"options": ["a"]}, "approval takes no options"),
        ({"schema": {}}, "approval takes no schema"),
        ({"prompt": " "}, "prompt must be a text that is not empty"),
        ({"prompt": None}, "prompt must be a text"),
        ({"prompt": "x" * (MAX_PROMPT_BYTES + 1)}, "prompt has 16385 bytes of UTF-8: use at most 16384"),
        ({"prompt": "\ud800"}, "surrogates not allowed"),
        ({"timeout_s": 0}, "timeout_s is 0: use a number of seconds above 0"),
        ({"timeout_s": math.inf}, "timeout_s is inf"),
        ({"timeout_s": True}, "timeout_s is True"),
        ({"kind": "choice", "options": "ab"}, "options must be a list of texts"),
        ({"kind": "choice", "options": []}, "options must be 1 to 100 texts, not 0"),
        ({"kind": "choice", "options": ["a", ""]}, "each option must be a text that is not empty"),
        ({"kind": "choice", "options": ["a", 1]}, "each option must be a text"),
        ({"kind": "choice", "options": ["a", "a"]}, "options must differ"),
        ({"kind": "choice", "options": ["a" * 1025]}, "an option has 1025 bytes"),
        ({"kind": "json", "schema": ["a"]}, "schema must be a JSON Schema as a dict"),
        ({"kind": "json", "schema": {"a": object()}}, "schema is not JSON"),
        ({"kind": "json", "schema": {"a": "x" * 65536}}, "schema has 65544 bytes"),
    ],
)
def test_what_can_not_be_asked_is_said(asked: dict[str, Any], problem: str) -> None:
    """By name, before anything is written."""
    with pytest.raises(ValueError, match=problem.replace("(", r"\(")):
        make_question(**{"prompt": "Delete?", **asked})


async def test_only_an_agent_that_a_core_runs_can_ask() -> None:
    """And only such a one has a current request."""
    with pytest.raises(RuntimeError, match="only an agent that a core runs can ask"):
        await RunRequest("hi").ask("Delete?")
    with pytest.raises(RuntimeError, match="only an agent that a core runs can ask"):
        RunRequest("hi").ask_blocking("Delete?")
    with pytest.raises(RuntimeError, match="no run of a core goes on"):
        current_request()
