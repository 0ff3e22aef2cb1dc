"""Errors that endpoints tell inside a 200."""

from __future__ import annotations

from typing import Any

import pytest
from openai import APIError, APIStatusError

from agent_core.agents.endpoint.stream.errors import error_of, find_error
from agent_core.agents.model_failures import ModelCallError


@pytest.mark.parametrize(
    ("value", "status", "said"),
    [
        ({"error": {"message": "m", "code": 429}}, 429, "m"),
        ({"error": {"message": "m", "code": "503"}}, 503, "m"),
        ({"error": {"message": "m", "type": "permission_error"}}, 403, "m"),
        ({"error": {"detail": "m", "status": "NOT_FOUND", "code": 5}}, 404, "m"),
        ({"error": "m", "code": 401}, 401, "m"),
        ({"error": "m", "type": "x"}, None, "m"),
        ({"error": {"message": {"a": 1}}}, None, "{'a': 1}"),
        ({"error": 7}, None, "7"),
        ({"error": {"x": 1}}, None, "{'x': 1}"),
        ({"error": {"message": "\ud83d", "code": 200}}, None, "?"),
        ({"type": "error", "message": "m", "status_code": 500}, 500, "m"),
        ({"object": "error", "message": "m", "code": 40303}, None, "m"),
        ({"detail": "m"}, None, "m"),
        ({"base_resp": {"status_code": 1004, "status_msg": "m"}}, None, "m"),
    ],
)
def test_an_error_has_its_status_and_its_words(value: Any, status: int | None, said: str) -> None:
    """As a number or a word, in any of the fields in which providers say it."""
    error = error_of(find_error(value))
    assert isinstance(error, APIError)
    assert error.message == said
    assert (error.status_code if isinstance(error, APIStatusError) else None) == status


@pytest.mark.parametrize(
    "value",
    [
        *({}, {"error": None}, {"error": {}}, {"error": ""}, {"choices": [], "usage": {}}, {"type": "ping"}),
        *({"choices": [{}], "message": "m"}, {"object": "chat.completion.chunk", "message": "m"}),
        *(
            {"choices": [{}], "type": "error"},
            {"base_resp": {"status_code": 0}},
            {"message": {"content": "x"}},
        ),
    ],
)
def test_what_is_no_error_is_none(value: Any) -> None:
    """Empty errors, chunks with other fields, and keep-alives."""
    assert find_error(value) is None


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
def test_a_filter_is_no_refused_request(code: str) -> None:
    """The provider withholds the answer, whatever status it gives that."""
    error = error_of({"message": "m", "code": code, "type": "invalid_request_error"})
    assert isinstance(error, ModelCallError)
    assert (error.reason, error.provider_said) == ("CONTENT_FILTERED", "m")
