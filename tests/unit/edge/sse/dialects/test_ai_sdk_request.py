"""What the AI SDK's transports ask for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edge.errors import RequestError
from edge.sse.dialects.ai_sdk_request import AiSdkChatRequest, question_of, request_id_of
from edge.sse.dialects.conversation import Message
from tokenwire.v1 import run_pb2


def text(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": each} for each in texts]


def user(said: str, message_id: str = "u1") -> dict[str, Any]:
    return {"id": message_id, "role": "user", "parts": text(said)}


def asked(**body: Any) -> AiSdkChatRequest:
    return msgspec.convert(
        {"id": "c1", "trigger": "submit-message", "model": "unknown"} | body, AiSdkChatRequest
    )


ANSWER = {
    "id": "a1",
    "role": "assistant",
    "parts": [
        {"type": "step-start"},
        *text("Let me look. "),
        {"type": "dynamic-tool", "toolName": "t", "state": "output-available", "input": {}, "output": 1},
        *text("Pears."),
        {"type": "text", "text": 7},
    ],
}


def test_more_messages_than_the_last_are_the_conversation() -> None:
    """Texts alone are told: an answer's are one, and system messages are the agent's own affair."""
    system = {"id": "s", "role": "system", "parts": text("Obey.")}
    request = asked(messages=[system, user("Fruit?"), ANSWER, user("More?", "u2")])
    assert question_of(request) == (
        "More?",
        [Message("user", "Fruit?"), Message("assistant", "Let me look. Pears.")],
    )


@pytest.mark.parametrize("body", [{"messages": [user("hi")]}, {"message": user("hi")}])
def test_the_last_message_alone_leaves_the_conversation_to_the_session(body: dict[str, Any]) -> None:
    """So do transports that are set up to send only that."""
    assert question_of(asked(**body)) == ("hi", None)


def test_the_first_answer_that_is_written_anew_has_no_conversation_before_it() -> None:
    """The session remembers the answer that the user does not want."""
    request = asked(messages=[user("hi")], trigger="regenerate-message")
    assert question_of(request) == ("hi", [])


def test_several_texts_of_a_question_are_lines() -> None:
    """A page may have put something else between them."""
    parts = [*text("a"), {"type": "data-place", "data": {}}, *text("b")]
    assert question_of(asked(messages=[{"role": "user", "parts": parts}])).text == "a\nb"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "no message"),
        ({"messages": [ANSWER]}, "must be the user's"),
        (
            {"messages": [{"role": "user", "parts": [{"type": "file", "url": "data:,x"}, *text("a")]}]},
            "Files",
        ),
        ({"messages": [{"role": "user"}]}, "no text"),
    ],
)
def test_what_is_no_question_is_refused(body: dict[str, Any], words: str) -> None:
    """Silently dropping a file would give an answer to another question."""
    with pytest.raises(RequestError, match=words) as raised:
        question_of(asked(**body))
    assert (raised.value.code, raised.value.details) == ("INVALID_ARGUMENT", {"field": "messages"})


def run(run_id: str, event: str = "done", reason: str = "stop") -> run_pb2.Run:
    outcome = run_pb2.FinishOutcome(event=event, reason=reason)
    return run_pb2.Run(run_id=run_id, state=run_pb2.RUN_STATE_ENDED, outcome=outcome)


LIVE = run_pb2.Run(run_id="live", state=run_pb2.RUN_STATE_RUNNING)


def request_id(*runs: run_pb2.Run, spec: str = "hi", **body: Any) -> str:
    request = asked(**({"messages": [user("hi")]} | body))
    return request_id_of(request, run_pb2.RunSpec(message=spec), runs)


def test_a_question_that_is_sent_twice_has_one_id() -> None:
    """Also when the first one's run goes on, or has answered meanwhile."""
    first = request_id()
    assert first == request_id(LIVE) == request_id(run("r1")) == request_id(LIVE, run("r1"))
    assert len(first) <= 128


def test_another_question_has_another_id() -> None:
    """Another chat, message, trigger, or anything else that it says."""
    others = [
        request_id(),
        request_id(id="c2"),
        request_id(messages=[user("hi", "u2")]),
        request_id(trigger="regenerate-message"),
        request_id(messageId="u1"),
        request_id(spec="ho"),
    ]
    assert len({*others}) == len(others)


@pytest.mark.parametrize("body", [{"trigger": "regenerate-message"}, {"messageId": "u1"}])
def test_an_answer_is_written_anew_as_often_as_that_is_asked(body: dict[str, Any]) -> None:
    """Each time that the one before has ended; sent twice meanwhile, it is one."""
    first, second = request_id(run("r1"), **body), request_id(run("r2"), **body)
    assert first != second
    assert first == request_id(LIVE, run("r1"), **body)


@pytest.mark.parametrize(("event", "reason"), [("error", "INTERNAL"), ("done", "cancelled")])
def test_a_question_whose_run_came_to_nothing_is_asked_again(event: str, reason: str) -> None:
    """Else a page that tries again would be shown the same failure for ever."""
    assert request_id(run("r1", event, reason)) != request_id()


@pytest.mark.parametrize("body", [{"id": ""}, {"messages": [user("hi", "")]}])
def test_a_question_without_names_has_no_id(body: dict[str, Any]) -> None:
    """Two equal questions could not be told apart."""
    assert request_id(**body) == ""
