"""What clients of Chat Completions ask for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edge.errors import RequestError
from edge.sse.dialects.conversation import Message
from edge.sse.dialects.openai_request import CompletionRequest, question_of


def asked(*messages: tuple[str, Any], **more: Any) -> CompletionRequest:
    told = [{"role": role, "content": content, "name": "x"} for role, content in messages]
    return msgspec.convert({"messages": told, "temperature": 1, "tools": []} | more, CompletionRequest)


def part(text: Any) -> dict[str, Any]:
    return {"type": "text", "text": text}


def test_the_messages_before_the_last_are_the_conversation() -> None:
    """Those of the system and of tools are left out, and parts that are no text."""
    image = {"type": "image_url", "image_url": {"url": "data:,x"}}
    request = asked(
        ("system", "Obey."),
        ("developer", "Obey."),
        ("user", [part("a"), image, part("b")]),
        ("assistant", None),
        ("tool", "7"),
        ("assistant", "c"),
        ("user", [part("d"), part("e")]),
    )
    earlier = [Message("user", "a\nb"), Message("assistant", ""), Message("assistant", "c")]
    assert question_of(request) == ("d\ne", earlier)
    assert question_of(asked(("user", "hi"))) == ("hi", [])


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "must be the user's"),
        ([("assistant", "a")], "must be the user's"),
        ([("user", [part("a"), {"type": "image_url"}])], "Only texts"),
        ([("user", [part(7)])], "Only texts"),
        ([("user", ["a"])], "Only texts"),
        ([("user", "")], "no text"),
        ([("user", {})], "no text"),
    ],
)
def test_what_is_no_question_is_refused(messages: list[tuple[str, Any]], words: str) -> None:
    """An image that is silently dropped would give an answer to another question."""
    with pytest.raises(RequestError, match=words) as raised:
        question_of(asked(*messages))
    assert raised.value.details == {"field": "messages"}


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, False),
        ({"stream_options": None}, False),
        ({"stream_options": {}}, False),
        ({"stream_options": {"include_usage": True, "include_obfuscation": False}}, True),
    ],
)
def test_usage_is_told_where_it_is_asked_for(more: dict[str, Any], wanted: bool) -> None:
    """Else a client that takes the first choice of each chunk breaks."""
    assert asked(**more).include_usage is wanted
