"""OpenAI's Chat Completions, as a stream or whole: the text of an answer, and what it thought.

Tools of a run are its own affair: a client would run those that it is told of.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from typing import Final

import msgspec

from edge.sse.dialects.contract import Delta, DialectTraits
from edge.sse.frames import HEARTBEAT_COMMENT, quoted
from tokenwire import events
from tokenwire.events import DeltaType

OPENAI: Final = DialectTraits("openai", has_cursors=False, merges=True, names_run=False)

FINISH_REASON: Final = {"stop": "stop", "length": "length", "tool_limit": "length"}
"""Ours to theirs. A cancelled run has none: its answer would look whole."""

CANCELLED: Final = "The run was cancelled."

_KEY: Final[dict[DeltaType, bytes]] = {
    events.TextDelta: b"content",
    events.ReasoningDelta: b"reasoning_content",  # not OpenAI's own, but that of most servers that speak it
}


class ErrorBody(msgspec.Struct):
    """What went wrong, in their form."""

    message: str
    """What went wrong, fit for a user."""
    type: str
    """`invalid_request_error`, `rate_limit_error`, `server_error` and others."""
    param: str | None
    """The field that is wrong, if it is about one."""
    code: str
    """The canonical gRPC code's name."""


class ErrorDocument(msgspec.Struct):
    """A failure in their form."""

    error: ErrorBody


class Usage(msgspec.Struct):
    """Tokens used. What the model's provider has not told is 0: they know no absence."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(msgspec.Struct, omit_defaults=True):
    """An answer."""

    content: str
    role: str = msgspec.field(default="")
    reasoning_content: str = ""


class Choice(msgspec.Struct):
    """The one answer that there is."""

    index: int
    message: AnswerMessage
    finish_reason: str


class Completion(msgspec.Struct):
    """A whole answer."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class OpenAiDialect:
    """Writes `chat.completion.chunk` objects.

    Args:
        include_usage: Whether the tokens used are told before the end.
    """

    __slots__ = ("_failed", "_head", "_id", "_include_usage")

    traits = OPENAI
    """How a response is served."""

    def __init__(self, *, include_usage: bool = False) -> None:
        self._include_usage = include_usage
        self._id = ""
        self._head = b""  # of every chunk, up to its choices
        self._failed = False

    def headers(self) -> tuple[()]:
        """Return no headers beside those that every stream has."""
        return ()

    def begin(self, run_id: str) -> None:
        """Learn the run's id: the completion's holds it."""
        self._id = completion_id(run_id)

    def write_opening(self, out: bytearray, retry_ms: int) -> None:
        """Append a comment that defeats buffering. The clients know no reconnection time."""
        del retry_ms
        out += b": open\n"

    def write_event(self, out: bytearray, epoch: int, sequence: int, event: events.StreamEvent) -> None:
        """Append the event's chunks, if it has any."""
        del epoch, sequence
        match event:
            case events.TextDelta() | events.ReasoningDelta():
                out += self._delta(type(event), event.content)
            case events.RunStarted():
                self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
                    quoted(self._id),
                    int(event.timestamp / 1000),
                    quoted(event.agent),
                )
                out += self._choice(b'{"role":"assistant","content":""}', b"null")
            case events.Done():
                self._write_done(out, event)
            case events.Error():
                self._write_error(out, event.code, event.message)
            case _:  # Progress, tools and custom events have no place here.
                pass

    def delta_frame(self, delta: Delta) -> bytes:
        """Return the delta's chunk."""
        return self._delta(delta[3], delta[4])

    def write_control(self, out: bytearray, control: events.ControlEvent) -> None:
        """Append nothing: the protocol has no place for them."""

    def write_heartbeat(self, out: bytearray) -> None:
        """Append a comment."""
        out += HEARTBEAT_COMMENT

    def write_retry(self, out: bytearray, retry_ms: int) -> None:
        """Append nothing: the clients know no reconnection time."""

    def write_end(self, out: bytearray) -> None:
        """Append what ends an answer. Behind an error it would say that all went well."""
        if not self._failed:
            out += b"data: [DONE]\n\n"

    def _delta(self, kind: DeltaType, content: str) -> bytes:
        return self._choice(b'{"%b":%b}' % (_KEY[kind], quoted(content)), b"null")

    def _choice(self, delta: bytes, finish_reason: bytes) -> bytes:
        """Return a chunk."""
        choice = b'"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n' % (delta, finish_reason)
        return self._head + choice

    def _write_done(self, out: bytearray, done: events.Done) -> None:
        """Append the end of a run that did not fail: for a cancelled one, an error."""
        reason = FINISH_REASON.get(done.finish_reason)
        if reason is None:
            self._write_error(out, "CANCELLED", CANCELLED)
            return
        out += self._choice(b"{}", quoted(reason))
        if self._include_usage:
            usage = msgspec.json.encode(usage_of(done.usage))
            out += self._head + b'"choices":[],"usage":%b}\n\n' % usage

    def _write_error(self, out: bytearray, code: str, message: str) -> None:
        """Append a failure."""
        self._failed = True
        body = ErrorBody(message, "server_error", None, code)
        out += b"data: %b\n\n" % msgspec.json.encode(ErrorDocument(body))


def completion_id(run_id: str) -> str:
    """Return what a run's answer is called."""
    return f"chatcmpl-{run_id}"


def usage_of(usage: events.Usage | None) -> Usage:
    """Return what a run has used, in their form."""
    usage = usage or events.Usage()
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    return Usage(read, written, read + written)


class WholeCompletion(OpenAiDialect):
    """Writes nothing of a run, and keeps what its answer is made of."""

    __slots__ = ("_created", "_done", "_model", "_reasoning", "_text")

    def __init__(self) -> None:
        super().__init__()
        self._created = 0
        self._model = ""
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._done: events.Done | None = None

    def write_event(self, out: bytearray, epoch: int, sequence: int, event: events.StreamEvent) -> None:
        """Keep what the answer is made of."""
        del out, epoch, sequence
        match event:
            case events.TextDelta() | events.ReasoningDelta():
                self._keep(type(event), event.content)
            case events.RunStarted():
                self._created, self._model = int(event.timestamp / 1000), event.agent
            case events.Done():
                self._done = event
            case _:  # A failure is told by the response's status.
                pass

    def delta_frame(self, delta: Delta) -> bytes:
        """Keep a piece."""
        self._keep(delta[3], delta[4])
        return b""

    def document(self) -> bytes | None:
        """Return the whole answer as JSON; None where the run has no end that is one."""
        reason = FINISH_REASON.get(self._done.finish_reason) if self._done is not None else None
        if self._done is None or reason is None:
            return None
        message = AnswerMessage(
            content="".join(self._text), role="assistant", reasoning_content="".join(self._reasoning)
        )
        choices, usage = [Choice(0, message, reason)], usage_of(self._done.usage)
        return msgspec.json.encode(
            Completion(self._id, "chat.completion", self._created, self._model, choices, usage)
        )

    def _keep(self, kind: DeltaType, content: str) -> None:
        (self._text if kind is events.TextDelta else self._reasoning).append(content)
