"""AG-UI 1.0: for `HttpAgent` and the interfaces that are made with it.

Each frame has an id: that of its event, and behind it the frame's number, where more of the event follow.
With it a stream goes on in the middle of an event, too. What a frame looks like depends on all events before
it: they are read again, and not written.

Source: https://docs.ag-ui.com/concepts/events, and the schemas of `@ag-ui/core` 1.0
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from edge.errors import RequestError
from edge.sse.dialects.contract import Delta, DialectTraits
from edge.sse.frames import HEARTBEAT_COMMENT, quoted
from tokenwire import events
from tokenwire.cursor import parse_event_id
from tokenwire.events import DeltaType

AG_UI: Final = DialectTraits("ag_ui", has_cursors=False, merges=False, names_run=False)

PROGRESS: Final = "tokenwire.progress"
"""The name of the custom event that is progress: their steps are another thing."""

_FRAME: Final = re.compile(r"[0-9]{1,3}")

_OPENS: Final[dict[DeltaType, tuple[bytes, ...]]] = {
    events.TextDelta: (b'{"type":"TEXT_MESSAGE_START","messageId":%b,"role":"assistant"}',),
    events.ReasoningDelta: (
        b'{"type":"REASONING_START","messageId":%b}',
        b'{"type":"REASONING_MESSAGE_START","messageId":%b,"role":"reasoning"}',
    ),
}
_CONTENT: Final[dict[DeltaType, bytes]] = {
    events.TextDelta: b'{"type":"TEXT_MESSAGE_CONTENT","messageId":%b,"delta":',
    events.ReasoningDelta: b'{"type":"REASONING_MESSAGE_CONTENT","messageId":%b,"delta":',
}
_CLOSES: Final[dict[DeltaType, tuple[bytes, ...]]] = {
    events.TextDelta: (b'{"type":"TEXT_MESSAGE_END","messageId":%b}',),
    events.ReasoningDelta: (
        b'{"type":"REASONING_MESSAGE_END","messageId":%b}',
        b'{"type":"REASONING_END","messageId":%b}',
    ),
}
"""The frames around the pieces of a message, and those of a piece up to its text."""


class _Progress(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The value of the custom event."""

    percent: float | None = None
    message: str
    step: str = ""


class _Usage(msgspec.Struct, rename="camel", omit_defaults=True):
    """Their names for what a run has used."""

    input_tokens: int | None = None
    output_tokens: int | None = None


class FrameCursor(NamedTuple):
    """The last frame that a client has. The default is before the first."""

    epoch: int = 1
    sequence: int = 0
    frame: int = 0
    """How many of the event's frames it has; 0 for all of them."""


def parse_frame_id(text: str, run_id: str) -> FrameCursor:
    """Return the place that a frame's id names.

    Raises:
        RequestError: INVALID_ARGUMENT, it is none, or another run's.
    """
    parts = text.split(".")
    event, frame = (".".join(parts[:3]), parts[3]) if len(parts) == 4 else (text, "0")  # noqa: PLR2004
    try:
        named, (epoch, sequence) = parse_event_id(event if _FRAME.fullmatch(frame) else "")
    except ValueError as error:
        raise RequestError("INVALID_ARGUMENT", str(error), details={"field": "after"}) from error
    if named != run_id:
        raise RequestError("INVALID_ARGUMENT", "The event id is another run's.", details={"field": "after"})
    return FrameCursor(epoch, sequence, int(frame))


class AgUiDialect:
    """Writes the events of one run of a thread.

    Args:
        thread_id: The thread, as the client calls it; empty for the run's session.
        client_run_id: The run, as the client calls it; empty for our own id.
        after: The last frame that the client has.
    """

    __slots__ = (
        "_after",
        "_client_run_id",
        "_content",
        "_id",
        "_message",
        "_messages",
        "_open",
        "_run_id",
        "_thread_id",
        "_tools",
    )

    traits = AG_UI
    """How a response is served."""

    def __init__(
        self,
        thread_id: str = "",
        client_run_id: str = "",
        after: FrameCursor = FrameCursor(),  # noqa: B008
    ) -> None:
        self._thread_id = thread_id
        self._client_run_id = client_run_id
        self._after = after
        self._run_id = ""
        self._id = b""
        self._open: DeltaType | None = None  # the message that pieces belong to
        self._message = b""  # its id, quoted
        self._messages = 0
        self._content = b""  # of its pieces, up to the text
        self._tools: set[str] = set()

    def headers(self) -> tuple[()]:
        """Return no headers beside those that every stream has: `Run-Id` has our own id."""
        return ()

    def begin(self, run_id: str) -> None:
        """Learn the run's id: all ids begin with it."""
        self._run_id = run_id
        self._id = b"%b." % run_id.encode()

    def write_opening(self, out: bytearray, retry_ms: int) -> None:
        """Append a comment that defeats buffering. The clients know no reconnection time."""
        del retry_ms
        out += b": open\n"

    def write_event(self, out: bytearray, epoch: int, sequence: int, event: events.StreamEvent) -> None:
        """Append the event's frames, but for those that the client has."""
        bodies = self._bodies(event)
        if not sequence:
            out += b"".join([b"data: %b\n\n" % body for body in bodies])
            return
        place = b"%b%d.%d" % (self._id, epoch, sequence)
        last = len(bodies)
        for number in range(self._had(epoch, sequence, last), last):
            part = b"" if number + 1 == last else b".%d" % (number + 1)
            out += b"data: %b\nid: %b%b\n\n" % (bodies[number], place, part)

    def delta_frame(self, delta: Delta) -> bytes:
        """Return the delta's frames: nearly always one, by one format."""
        epoch, sequence, _, kind, content, _ = delta
        if kind is self._open and sequence > self._after.sequence:
            body = (self._content, quoted(content), self._id, epoch, sequence)
            return b"data: %b%b}\nid: %b%d.%d\n\n" % body
        out = bytearray()
        self.write_event(out, epoch, sequence, kind(timestamp=0.0, content=content))
        return bytes(out)

    def write_control(self, out: bytearray, control: events.ControlEvent) -> None:
        """Append nothing: the protocol has no place for them."""

    def write_heartbeat(self, out: bytearray) -> None:
        """Append a comment."""
        out += HEARTBEAT_COMMENT

    def write_retry(self, out: bytearray, retry_ms: int) -> None:
        """Append nothing: the clients know no reconnection time."""

    def write_end(self, out: bytearray) -> None:
        """Append nothing: the run's end says all."""

    def _had(self, epoch: int, sequence: int, count: int) -> int:
        """Return how many of an event's frames the client has."""
        after = self._after
        if (epoch, sequence) > (after.epoch, after.sequence):
            return 0
        if (epoch, sequence) < (after.epoch, after.sequence):
            return count
        return after.frame or count

    def _bodies(self, event: events.StreamEvent) -> list[bytes]:
        """Return what an event's frames hold."""
        match event:
            case events.TextDelta() | events.ReasoningDelta():
                bodies = self._piece(type(event), event.content)
            case events.RunStarted():
                self._thread_id = self._thread_id or event.session_id or self._run_id
                bodies = [b'{"type":"RUN_STARTED",%b,"protocolVersion":"1.0"}' % self._run()]
            case events.Progress():
                told = _Progress(percent=event.percent, message=event.message, step=event.step)
                bodies = [_custom(PROGRESS, msgspec.json.encode(told))]
            case events.ToolStart():
                bodies = [*self._close(), *self._call(event.call_id, event.tool, bytes(event.args))]
            case events.ToolResult():
                bodies = self._result(event)
            case events.Custom():
                bodies = [_custom(event.name, bytes(event.data))]
            case events.InputRequested() | events.InputReceived():
                # Not an interrupt: that would end the AG-UI run, and ours goes on when it is answered.
                bodies = [_custom(str(event.__struct_config__.tag), msgspec.json.encode(event))]
            case events.Done():
                bodies = [*self._close(), self._finished(event)]
            case _:  # an Error
                failure = (quoted(event.message), quoted(event.code))
                bodies = [*self._close(), b'{"type":"RUN_ERROR","message":%b,"code":%b}' % failure]
        return bodies

    def _run(self) -> bytes:
        """Return the fields that name the run, as its client does."""
        return b'"threadId":%b,"runId":%b' % (
            quoted(self._thread_id),
            quoted(self._client_run_id or self._run_id),
        )

    def _piece(self, kind: DeltaType, content: str) -> list[bytes]:
        """Return a piece of a message, which begins where it is not the open one."""
        bodies: list[bytes] = []
        if kind is not self._open:
            bodies += self._close()
            self._open, self._messages = kind, self._messages + 1
            self._message = quoted(f"{self._run_id}-{self._messages}")
            bodies += [frame % self._message for frame in _OPENS[kind]]
            self._content = _CONTENT[kind] % self._message
        return [*bodies, b"%b%b}" % (self._content, quoted(content))]

    def _close(self) -> list[bytes]:
        """Return the end of the open message, if there is one."""
        kind, self._open = self._open, None
        return [] if kind is None else [frame % self._message for frame in _CLOSES[kind]]

    def _call(self, call_id: str, tool: str, args: bytes) -> list[bytes]:
        """Return a call, with its arguments as JSON in a text."""
        self._tools.add(call_id)
        call = quoted(call_id)
        return [
            b'{"type":"TOOL_CALL_START","toolCallId":%b,"toolCallName":%b}' % (call, quoted(tool)),
            b'{"type":"TOOL_CALL_ARGS","toolCallId":%b,"delta":%b}' % (call, quoted(args.decode())),
            b'{"type":"TOOL_CALL_END","toolCallId":%b}' % call,
        ]

    def _result(self, result: events.ToolResult) -> list[bytes]:
        """Return what a call gave, and before it the call where an agent has left that out."""
        bodies: list[bytes] = []
        if result.call_id not in self._tools:
            bodies += [*self._close(), *self._call(result.call_id, result.tool, b"null")]
        told = (
            quoted(f"{self._run_id}-{result.call_id}"),
            quoted(result.call_id),
            quoted(bytes(result.result).decode()),
            b',"metadata":{"isError":true}' if result.is_error else b"",
        )
        body = (
            b'{"type":"TOOL_CALL_RESULT","messageId":%b,"toolCallId":%b,"content":%b,"role":"tool"%b}' % told
        )
        return [*bodies, body]

    def _finished(self, done: events.Done) -> bytes:
        """Return the end of a run that did not fail."""
        outcome = b"cancelled" if done.finish_reason == "cancelled" else b"success"
        usage = b""
        if done.usage is not None:
            used = _Usage(done.usage.input_tokens, done.usage.output_tokens)
            usage = b',"usage":[%b]' % msgspec.json.encode(used)
        return b'{"type":"RUN_FINISHED",%b,"outcome":{"type":"%b"}%b}' % (self._run(), outcome, usage)


def _custom(name: str, value: bytes) -> bytes:
    return b'{"type":"CUSTOM","name":%b,"value":%b}' % (quoted(name), value)
