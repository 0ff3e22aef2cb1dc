"""What the AI SDK's transports send, and what it asks for. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from edge.errors import RequestError
from edge.sse.dialects.conversation import Message, Question
from tokenwire.v1 import run_pb2

REGENERATE: Final = "regenerate-message"
"""The trigger of a question whose answer is to be written anew."""


class UiPart(msgspec.Struct):
    """A part of a message. Only texts are read."""

    type: str
    """`text`, `file`, `dynamic-tool` and others."""
    text: Any = None
    """The text of a part of type `text`."""


class UiMessage(msgspec.Struct):
    """A message as the AI SDK keeps it."""

    role: str
    """`user`, `assistant` or `system`."""
    parts: list[UiPart] = []
    """The parts, in order."""
    id: str = ""
    """The message's id."""


class AiSdkChatRequest(msgspec.Struct, rename="camel"):
    """The body that `DefaultChatTransport` sends. Fields beside these are ignored."""

    messages: list[UiMessage] = []
    """The conversation, oldest first; the last message is the question. If it has only that, the session's
    memory is the conversation before it."""
    message: UiMessage | None = None
    """The question alone, from transports that are set up to send no more."""
    id: str = ""
    """The chat's id: it becomes the session's. Empty: the question has no session."""
    trigger: str = "submit-message"
    """`submit-message` or `regenerate-message`."""
    message_id: str | None = None
    """The message that is written anew."""

    @property
    def last(self) -> UiMessage:
        """The question.

        Raises:
            RequestError: There is none.
        """
        if self.messages:
            return self.messages[-1]
        if self.message is None:
            raise _refusal("messages", "There is no message.")
        return self.message


def question_of(request: AiSdkChatRequest) -> Question:
    """Return what a request asks. System messages are left out: an agent has its own.

    Raises:
        RequestError: INVALID_ARGUMENT, the last message is not the user's, has no text, or holds a file.
    """
    last = request.last
    if last.role != "user":
        raise _refusal("messages", "The last message must be the user's.")
    if any(part.type == "file" for part in last.parts):
        raise _refusal("messages", "Files are not supported.")
    text = _text_of(last, "\n")
    if not text:
        raise _refusal("messages", "The last message has no text.")
    earlier = [
        Message("user", _text_of(message, "\n"))
        if message.role == "user"
        # As the session's memory has it: the answer's texts are one, whatever tools were called in between.
        else Message("assistant", _text_of(message, ""))
        for message in request.messages[:-1]
        if message.role in {"user", "assistant"}
    ]
    whole = len(request.messages) > 1 or request.trigger == REGENERATE
    return Question(text, earlier if whole else None)


def request_id_of(request: AiSdkChatRequest, spec: run_pb2.RunSpec, runs: Sequence[run_pb2.Run]) -> str:
    """Return the id under which a question is asked once, though a browser sends it twice; empty for none.

    A browser repeats a POST by itself whose connection breaks. The question itself may be repeated, too: it
    is asked anew once the answer before it has ended, if that is to be written anew, or did not come to its
    end.

    Args:
        request: The request.
        spec: What it asks for.
        runs: The session's newest runs, newest first: at least the last one that has ended.
    """
    if not request.id or not request.last.id:
        return ""
    ended = next((run for run in runs if run.state == run_pb2.RUN_STATE_ENDED), None)
    repeats = request.trigger == REGENERATE or request.message_id is not None
    attempt = ended.run_id if ended is not None and (repeats or not _came_to_its_end(ended)) else ""
    named = [request.id, request.last.id, request.trigger, request.message_id, attempt]
    # Whatever else the question says: the same id with another one would be refused.
    digest = hashlib.sha256(msgspec.json.encode(named) + spec.SerializeToString(deterministic=True)).digest()
    return f"ai-sdk.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _came_to_its_end(run: run_pb2.Run) -> bool:
    """Return whether a run has neither failed nor been cancelled."""
    return run.outcome.event == "done" and run.outcome.reason != "cancelled"


def _text_of(message: UiMessage, separator: str) -> str:
    """Return a message's texts as one."""
    texts = [part.text for part in message.parts if part.type == "text" and isinstance(part.text, str)]
    return separator.join(texts)


def _refusal(field: str, text: str) -> RequestError:
    return RequestError("INVALID_ARGUMENT", text, details={"field": field})
