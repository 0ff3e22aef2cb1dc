"""What a person has sent, against the question: exactly what the agent is then given. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agent_core.agents.inputs import Question
from agent_core.runs.json_schema import MismatchError, require_valid

MAX_VALUE_BYTES: Final = 64 * 1024
"""The largest answer, in bytes of UTF-8."""

_decode: Final = msgspec.json.Decoder().decode


class WrongAnswerError(Exception):
    """A question does not accept what was sent. Its text is fit for a user, and quotes no value."""


def read_answer(question: Question, value_json: str) -> Any:
    """Return the value that an agent is given: a bool, a str, or any JSON value.

    Args:
        question: What was asked.
        value_json: What was sent: one JSON value.

    Raises:
        WrongAnswerError: The question does not accept it.
    """
    if len(value_json.encode()) > MAX_VALUE_BYTES:
        raise WrongAnswerError(f"must be at most {MAX_VALUE_BYTES} bytes of JSON")
    try:
        value = _decode(value_json)
    except (msgspec.DecodeError, RecursionError) as error:
        raise WrongAnswerError("must be one JSON value") from error
    match question.kind:
        case "approval":
            if not isinstance(value, bool):
                raise WrongAnswerError("must be true or false")
        case "choice" | "text":
            if not isinstance(value, str):
                raise WrongAnswerError("must be a string")
    if question.schema is not None:
        try:
            require_valid(value, question.schema)
        except (MismatchError, RecursionError) as error:
            raise WrongAnswerError(str(error) or "is too deep") from error
    return value
