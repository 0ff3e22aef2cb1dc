"""What AG-UI's clients ask for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edge.errors import RequestError
from edge.sse.dialects.ag_ui_request import RunAgentInput, question_of, request_id_of
from edge.sse.dialects.conversation import Message
from tokenwire.v1 import run_pb2


def asked(*messages: tuple[str, Any], **more: Any) -> RunAgentInput:
    told = [{"id": str(n), "role": role, "content": content} for n, (role, content) in enumerate(messages)]
    body = {"threadId": "t", "runId": "r", "messages": told, "state": {}, "context": [], "forwardedProps": {}}
    return msgspec.convert(body | more, RunAgentInput)


def test_the_messages_before_the_last_are_the_conversation() -> None:
    """The last one alone leaves it to the session's memory."""
    request = asked(("system", "Obey."), ("user", "a"), ("assistant", None), ("tool", "7"), ("user", "b"))
    assert question_of(request) == ("b", [Message("user", "a"), Message("assistant", "")])
    assert question_of(asked(("user", [{"type": "text", "text": "hi"}]))) == ("hi", None)


@pytest.mark.parametrize(
    ("messages", "more", "field"),
    [
        ([], {}, "messages"),
        ([("assistant", "a")], {}, "messages"),
        ([("user", [{"type": "image", "source": {}}])], {}, "messages"),
        ([("user", "")], {}, "messages"),
        ([("user", "a")], {"tools": [{"name": "t"}]}, "tools"),
    ],
)
def test_what_is_no_question_is_refused(
    messages: list[tuple[str, Any]], more: dict[str, Any], field: str
) -> None:
    """The client's own tools, too: an agent could not call them."""
    with pytest.raises(RequestError) as raised:
        question_of(asked(*messages, **more))
    assert raised.value.details == {"field": field}


def test_a_run_that_is_sent_twice_is_one() -> None:
    """Another run, thread or question is another."""
    spec = run_pb2.RunSpec(message="hi")
    first = request_id_of(asked(), spec)
    assert request_id_of(asked(), spec) == first
    others = [
        request_id_of(asked(runId="r2"), spec),
        request_id_of(asked(threadId="t2"), spec),
        request_id_of(asked(), run_pb2.RunSpec(message="ho")),
    ]
    assert len({first, *others}) == 4
