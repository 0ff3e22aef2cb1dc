"""A client's own conversation, as the core takes it."""

from __future__ import annotations

from edge.sse.dialects.conversation import Message, history_of
from tokenwire.runs import MAX_HISTORY_BYTES, MAX_HISTORY_MESSAGES
from tokenwire.v1 import run_pb2


def told(history: run_pb2.History) -> list[tuple[int, str]]:
    return [(message.role, message.content) for message in history.messages]


USER, ASSISTANT = run_pb2.HISTORY_ROLE_USER, run_pb2.HISTORY_ROLE_ASSISTANT


def test_messages_keep_their_order_and_roles() -> None:
    """Empty ones, such as an answer of tools alone, are left out: the contract wants text."""
    messages = [
        Message("assistant", "Hi!"),
        Message("user", "a"),
        Message("assistant", ""),
        Message("user", "b"),
    ]
    assert told(history_of(messages)) == [(ASSISTANT, "Hi!"), (USER, "a"), (USER, "b")]
    assert told(history_of([])) == []


def test_the_newest_messages_are_told_as_many_as_the_contract_allows() -> None:
    """What comes first is a question then, whose answer may follow."""
    pairs = [
        message for n in range(200) for message in (Message("user", f"q{n}"), Message("assistant", f"a{n}"))
    ]
    history = told(history_of([*pairs, Message("user", "last")]))
    assert history[-1] == (USER, "last")
    assert history[0][0] == USER
    assert len(history) == MAX_HISTORY_MESSAGES - 1
    assert len(history_of(pairs).messages) == MAX_HISTORY_MESSAGES


def test_the_contracts_bytes_are_those_of_utf_8() -> None:
    """The last message that fits is told whole; the one before it, and the answer to that, are not."""
    half = "ä" * (MAX_HISTORY_BYTES // 4)
    messages = [Message("user", "x"), Message("assistant", half), Message("user", half)]
    assert [content for _, content in told(history_of(messages))] == [half]
    assert len(history_of(messages[1:]).messages) == 2
    assert told(history_of([Message("user", "a"), Message("assistant", half * 3)])) == []
