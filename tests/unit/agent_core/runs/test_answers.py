"""What was sent, and what the agent is given."""

from __future__ import annotations

from typing import Any

import pytest

from agent_core.agents.inputs import make_question
from agent_core.runs.answers import MAX_VALUE_BYTES, WrongAnswerError, read_answer

APPROVAL = make_question("Delete?")
CHOICE = make_question("Which?", "choice", options=["red", "blue"])
TEXT = make_question("Name?", "text")
JSON = make_question("What?", "json")
FORM = make_question("Who?", "json", schema={"type": "object", "required": ["age"]})
TREE = make_question("What?", "json", schema={"items": {"$ref": "#"}})


@pytest.mark.parametrize(
    ("question", "sent", "value"),
    [
        (APPROVAL, "true", True),
        (APPROVAL, " false ", False),
        (CHOICE, '"blue"', "blue"),
        (TEXT, '""', ""),
        (TEXT, '"Gr\\u00fc\\u00dfe"', "Grüße"),
        (JSON, "null", None),
        (JSON, '[1, {"a": 1.5}]', [1, {"a": 1.5}]),
        (FORM, '{"age": 41}', {"age": 41}),
    ],
)
def test_an_agent_is_given_what_was_sent(question: Any, sent: str, value: object) -> None:
    """As a value of Python's."""
    assert read_answer(question, sent) == value


@pytest.mark.parametrize(
    ("question", "sent", "problem"),
    [
        (APPROVAL, '"yes"', "must be true or false"),
        (APPROVAL, "1", "must be true or false"),
        (CHOICE, "1", "must be a string"),
        (CHOICE, '"green"', "must be one of the options"),
        (TEXT, "null", "must be a string"),
        (TEXT, "", "must be one JSON value"),
        (TEXT, "hello", "must be one JSON value"),
        (JSON, "{} {}", "must be one JSON value"),
        (JSON, "NaN", "must be one JSON value"),
        (JSON, "[" * 30_000, "must be one JSON value"),
        (JSON, f'"{"x" * MAX_VALUE_BYTES}"', "must be at most 65536 bytes of JSON"),
        (FORM, "{}", "age is missing"),
        (TREE, "[" * 500 + "]" * 500, "/0" * 64 + ": is too deep"),
    ],
)
def test_what_a_question_does_not_accept_is_said(question: Any, sent: str, problem: str) -> None:
    """In words that quote no value."""
    with pytest.raises(WrongAnswerError) as caught:
        read_answer(question, sent)
    assert str(caught.value).endswith(problem[-40:])
