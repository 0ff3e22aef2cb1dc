"""The AI SDK's UI message stream, version 1: for `useChat` and its kin, versions 5 to 7 of `ai`.

One event makes the same chunks whenever it is read, so that clients can count them: a stream that is resumed
behind N chunks goes on byte for byte. The first event is needed for that, wherever a client goes on.

Source: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol, and `uiMessageChunkSchema` of the packages
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edge.sse.dialects.contract import Delta, DialectTraits
from edge.sse.frames import HEARTBEAT_COMMENT, quoted
from tokenwire import events

AI_SDK: Final = DialectTraits("ai_sdk", has_cursors=False, merges=False, names_run=True)

VERSION_HEADER: Final = (b"x-vercel-ai-ui-message-stream", b"v1")
"""Tells clients which protocol this is."""

RUN_HEADER: Final = b"x-workflow-run-id"
"""What `WorkflowChatTransport` goes on with after a cut. It takes no answer without it."""

TAIL_HEADER: Final = b"x-workflow-stream-tail-index"
"""The index of the last chunk that there is: who asks for the last few counts from it."""

_FINISH_REASON: Final = {"stop": b"stop", "length": b"length"}
"""Ours to theirs. All others are `other`: they know no limit of tools, and say `abort` of a cancelled run."""

_PART: Final[dict[events.DeltaType, bytes]] = {events.TextDelta: b"text", events.ReasoningDelta: b"reasoning"}

_SERVERS: Final = b'"dynamic":true,"providerExecuted":true'
"""Marks a call as the server's. Clients run all others themselves, and ask again with the result."""

_NO_RESULT: Final = "The run ended before the tool returned."


class _Progress(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The data of `data-progress`."""

    percent: float | None = None
    message: str
    step: str = ""


class _Usage(msgspec.Struct, rename="camel", omit_defaults=True):
    """Their names for what a run has used."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None


class AiSdkDialect:
    """Writes chunks of one assistant message, whose id is the run's.

    Args:
        start_index: How many chunks the client has already: these are not written again. `finish` always is,
            since clients ask for more until they have seen one.
        tail_index: The index of the last chunk that there is; None where the client need not know.
    """

    __slots__ = ("_open", "_parts", "_prefix", "_run_id", "_skip", "_tail_index", "_tools", "chunks")

    traits = AI_SDK
    """How a response is served."""

    def __init__(self, *, start_index: int = 0, tail_index: int | None = None) -> None:
        self.chunks = 0
        """How many chunks there are so far, whether they were written or not."""
        self._skip = start_index
        self._tail_index = tail_index
        self._run_id = b""
        self._open: events.DeltaType | None = None  # the part that deltas belong to
        self._prefix = b""  # of the open part's deltas, up to the text
        self._parts = 0
        self._tools: dict[str, None] = {}  # calls without a result, oldest first

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the protocol's version, and what `WorkflowChatTransport` reads."""
        headers = [VERSION_HEADER]
        if self._run_id:
            headers.append((RUN_HEADER, self._run_id))
        if self._tail_index is not None:
            headers.append((TAIL_HEADER, b"%d" % self._tail_index))
        return headers

    def begin(self, run_id: str) -> None:
        """Learn the run's id: it is the message's."""
        self._run_id = run_id.encode()

    def write_opening(self, out: bytearray, retry_ms: int) -> None:
        """Append a comment that defeats buffering. The clients know no reconnection time."""
        del retry_ms
        out += b": open\n"

    def write_event(self, out: bytearray, epoch: int, sequence: int, event: events.StreamEvent) -> None:
        """Append the event's chunks."""
        del epoch, sequence
        match event:
            case events.TextDelta() | events.ReasoningDelta():
                self._write_delta(out, type(event), event.content)
            case events.RunStarted():
                self._write(out, b'{"type":"start","messageId":%b}' % quoted(event.run_id))
                self._write(out, b'{"type":"start-step"}')
            case events.Progress():
                told = _Progress(percent=event.percent, message=event.message, step=event.step)
                data = msgspec.json.encode(told)
                self._write(out, b'{"type":"data-progress","data":%b,"transient":true}' % data)
            case events.ToolStart():
                self._close_part(out)
                self._start_tool(out, event.call_id, event.tool, event.args)
            case events.ToolResult():
                self._write_result(out, event)
            case events.Custom():
                self._close_part(out)
                kind = quoted(f"data-{event.name}")
                self._write(out, b'{"type":%b,"data":%b}' % (kind, bytes(event.data)))
            case events.InputRequested() | events.InputReceived():
                self._write_input(out, event)
            case events.Done():
                self._write_done(out, event)
            case _:  # an Error
                self._close(out)
                self._write(out, b'{"type":"error","errorText":%b}' % quoted(event.message))
                self._write_finish(out, b"error")

    def delta_frame(self, delta: Delta) -> bytes:
        """Return the delta's chunks: nearly always one, by one format."""
        kind = delta[3]
        if kind is self._open and not self._skip:
            self.chunks += 1
            return b"data: %b%b}\n\n" % (self._prefix, quoted(delta[4]))
        out = bytearray()
        self._write_delta(out, kind, delta[4])
        return bytes(out)

    def write_control(self, out: bytearray, control: events.ControlEvent) -> None:
        """Append nothing: the protocol has no place for them."""

    def write_heartbeat(self, out: bytearray) -> None:
        """Append a comment."""
        out += HEARTBEAT_COMMENT

    def write_retry(self, out: bytearray, retry_ms: int) -> None:
        """Append nothing: the clients know no reconnection time."""

    def write_end(self, out: bytearray) -> None:
        """Append what older clients wait for."""
        out += b"data: [DONE]\n\n"

    def _write(self, out: bytearray, chunk: bytes) -> None:
        """Append a chunk, unless the client has it."""
        self.chunks += 1
        if self._skip:
            self._skip -= 1
        else:
            out += b"data: %b\n\n" % chunk

    def _write_delta(self, out: bytearray, kind: events.DeltaType, content: str) -> None:
        """Append a piece of a part, which begins where it is not the open one."""
        if kind is not self._open:
            self._close_part(out)
            self._open, self._parts = kind, self._parts + 1
            self._write(out, b'{"type":"%b-start","id":"%d"}' % (_PART[kind], self._parts))
            self._prefix = b'{"type":"%b-delta","id":"%d","delta":' % (_PART[kind], self._parts)
        self._write(out, b"%b%b}" % (self._prefix, quoted(content)))

    def _close_part(self, out: bytearray) -> None:
        """Append the end of the open part, if there is one."""
        if self._open is not None:
            self._write(out, b'{"type":"%b-end","id":"%d"}' % (_PART[self._open], self._parts))
            self._open = None

    def _start_tool(self, out: bytearray, call_id: str, tool: str, args: msgspec.Raw) -> None:
        """Append a call."""
        self._tools[call_id] = None
        call = b'"toolCallId":%b,"toolName":%b,%b' % (quoted(call_id), quoted(tool), _SERVERS)
        self._write(out, b'{"type":"tool-input-start",%b}' % call)
        self._write(out, b'{"type":"tool-input-available",%b,"input":%b}' % (call, bytes(args)))

    def _write_result(self, out: bytearray, result: events.ToolResult) -> None:
        """Append what a call gave, and before it the call where an agent has left that out."""
        if result.call_id not in self._tools:
            self._close_part(out)
            self._start_tool(out, result.call_id, result.tool, msgspec.Raw(b"null"))
        del self._tools[result.call_id]
        if result.is_error:
            self._write_tool_error(out, result.call_id, _text_of(result.result))
            return
        told = (quoted(result.call_id), bytes(result.result), _SERVERS)
        self._write(out, b'{"type":"tool-output-available","toolCallId":%b,"output":%b,%b}' % told)

    def _write_tool_error(self, out: bytearray, call_id: str, text: str) -> None:
        """Append that a call has failed."""
        told = (quoted(call_id), quoted(text), _SERVERS)
        self._write(out, b'{"type":"tool-output-error","toolCallId":%b,"errorText":%b,%b}' % told)

    def _write_input(self, out: bytearray, event: events.InputRequested | events.InputReceived) -> None:
        """Append a question, or in its place how it was closed: parts of one id replace each other."""
        self._close_part(out)
        told = (quoted(event.input_id), msgspec.json.encode(event))
        self._write(out, b'{"type":"data-input","id":%b,"data":%b}' % told)

    def _close(self, out: bytearray) -> None:
        """Append the ends of all that is open: a page would show it as being written for ever."""
        self._close_part(out)
        for call_id in self._tools:
            self._write_tool_error(out, call_id, _NO_RESULT)
        self._tools.clear()

    def _write_done(self, out: bytearray, done: events.Done) -> None:
        """Append the end of a run that did not fail."""
        self._close(out)
        if done.finish_reason == "cancelled":
            self._write(out, b'{"type":"abort"}')
        else:
            self._write(out, b'{"type":"finish-step"}')
        metadata = b',"messageMetadata":{"usage":%b}' % _usage(done.usage) if done.usage else b""
        self._write_finish(out, _FINISH_REASON.get(done.finish_reason, b"other"), metadata)

    def _write_finish(self, out: bytearray, reason: bytes, more: bytes = b"") -> None:
        """Append the last chunk, whatever the client has."""
        self._skip = 0
        self._write(out, b'{"type":"finish","finishReason":"%b"%b}' % (reason, more))


def _usage(usage: events.Usage) -> bytes:
    """Return what a run has used, with the sum where both are known."""
    read, written = usage.input_tokens, usage.output_tokens
    total = read + written if read is not None and written is not None else None
    return msgspec.json.encode(_Usage(read, written, total))


def _text_of(result: msgspec.Raw) -> str:
    """Return a failure as text: a JSON string's own, else the JSON."""
    value: Any = msgspec.json.decode(result)
    return value if isinstance(value, str) else bytes(result).decode()
