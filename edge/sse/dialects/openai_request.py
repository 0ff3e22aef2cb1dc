"""What clients of OpenAI's Chat Completions send, and what it asks for. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from edge.errors import RequestError
from edge.sse.dialects.conversation import Message, Question, is_text, text_of


class StreamOptions(msgspec.Struct):
    """What a stream is to hold besides the answer."""

    include_usage: bool | None = None
    """Whether the tokens used are told before the end."""


class CompletionMessage(msgspec.Struct):
    """A message of the conversation."""

    role: str
    """`user`, `assistant`, `system`, `developer` or `tool`."""
    content: Any = None
    """A text, or a list of parts. Only texts are read."""


class CompletionRequest(msgspec.Struct):
    """The body of a Chat Completions request. Parameters beside these are ignored: the agent has its own."""

    messages: list[CompletionMessage]
    """The conversation, oldest first; the last message is the question."""
    model: str = ""
    """The agent; empty for the default one."""
    stream: bool | None = None
    """Whether the answer is streamed."""
    stream_options: StreamOptions | None = None
    """What the stream is to hold."""

    @property
    def include_usage(self) -> bool:
        """Whether the stream tells the tokens used."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


def question_of(request: CompletionRequest) -> Question:
    """Return what a request asks. Messages of the system and of tools are left out.

    Raises:
        RequestError: INVALID_ARGUMENT, the last message is not the user's, has no text, or more than text.
    """
    if not request.messages or request.messages[-1].role != "user":
        raise _refusal("The last message must be the user's.")
    last = request.messages[-1].content
    if not is_text(last):
        raise _refusal("Only texts are supported.")
    text = text_of(last)
    if not text:
        raise _refusal("The last message has no text.")
    earlier = [
        Message("user" if message.role == "user" else "assistant", text_of(message.content))
        for message in request.messages[:-1]
        if message.role in {"user", "assistant"}
    ]
    return Question(text, earlier)


def _refusal(text: str) -> RequestError:
    return RequestError("INVALID_ARGUMENT", text, details={"field": "messages"})
