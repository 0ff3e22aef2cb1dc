"""What AG-UI's `HttpAgent` sends, and what it asks for. Pure."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec

from edge.errors import RequestError
from edge.sse.dialects.conversation import Message, Question, is_text, text_of
from tokenwire.v1 import run_pb2


class AgUiMessage(msgspec.Struct):
    """A message of the thread."""

    role: str
    """`user`, `assistant`, `system`, `tool` and others."""
    content: Any = None
    """A text, or a list of parts. Only texts are read."""


class RunAgentInput(msgspec.Struct, rename="camel"):
    """The body of a run. Fields beside these (`state`, `context`, `forwardedProps` …) are ignored."""

    thread_id: str
    """The thread: it becomes the session."""
    run_id: str
    """The run, as the client calls it: events carry it. Sent twice, it is one run."""
    messages: list[AgUiMessage]
    """The thread's messages, oldest first; the last one is the question. If it is the only one, the session's
    memory is the conversation before it."""
    tools: list[Any] = []
    """The client's own tools: must be empty, since agents have theirs."""


def question_of(request: RunAgentInput) -> Question:
    """Return what a request asks. Messages of the system and of tools are left out.

    Raises:
        RequestError: INVALID_ARGUMENT, the last message is not the user's, has no text, or more than text; or
            there are tools.
    """
    if request.tools:
        raise _refusal("tools", "Tools of the client are not supported.")
    if not request.messages or request.messages[-1].role != "user":
        raise _refusal("messages", "The last message must be the user's.")
    last = request.messages[-1].content
    if not is_text(last):
        raise _refusal("messages", "Only texts are supported.")
    text = text_of(last)
    if not text:
        raise _refusal("messages", "The last message has no text.")
    earlier = [
        Message("user" if message.role == "user" else "assistant", text_of(message.content))
        for message in request.messages[:-1]
        if message.role in {"user", "assistant"}
    ]
    return Question(text, earlier if len(request.messages) > 1 else None)


def request_id_of(request: RunAgentInput, spec: run_pb2.RunSpec) -> str:
    """Return the id under which a run is started once, though a browser sends its request twice.

    Args:
        request: The request.
        spec: What it asks for.
    """
    named = msgspec.json.encode([request.thread_id, request.run_id])
    digest = hashlib.sha256(named + spec.SerializeToString(deterministic=True)).digest()
    return f"ag-ui.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _refusal(field: str, text: str) -> RequestError:
    return RequestError("INVALID_ARGUMENT", text, details={"field": field})
