"""What a client of another dialect asks: the question, and the conversation before it where it tells one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from tokenwire.runs import MAX_HISTORY_BYTES, MAX_HISTORY_MESSAGES
from tokenwire.v1 import run_pb2

Role = Literal["user", "assistant"]

_ROLE: Final[dict[Role, run_pb2.HistoryRole.ValueType]] = {
    "user": run_pb2.HISTORY_ROLE_USER,
    "assistant": run_pb2.HISTORY_ROLE_ASSISTANT,
}


class Message(NamedTuple):
    """One message of a conversation."""

    role: Role
    text: str


class Question(NamedTuple):
    """What a request asks."""

    text: str
    """The user's message; not empty."""
    history: Sequence[Message] | None
    """What was said before, oldest first; None where the session's own memory counts."""


def history_of(messages: Sequence[Message]) -> run_pb2.History:
    """Return a conversation for the core: the newest messages, as many as the contract allows.

    It begins with a message of the user where older ones had to go: models take no answer first.

    Args:
        messages: The conversation, oldest first. Empty messages are left out.
    """
    told = [message for message in messages if message.text]
    size_bytes, first = 0, len(told)
    while first and len(told) - first < MAX_HISTORY_MESSAGES:
        size_bytes += len(told[first - 1].text.encode())
        if size_bytes > MAX_HISTORY_BYTES:
            break
        first -= 1
    if first:
        while first < len(told) and told[first].role != "user":
            first += 1
    return run_pb2.History(
        messages=[
            run_pb2.HistoryMessage(role=_ROLE[message.role], content=message.text) for message in told[first:]
        ]
    )
