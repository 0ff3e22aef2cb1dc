"""The JSON contract: one Struct for each event that a browser sees.

Keys are camelCase, `type` comes first, `timestamp` is Unix milliseconds, and what an event does
not have is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec


class Timing(msgspec.Struct, gc=False):
    """When an event was where on its way, in Unix milliseconds to a microsecond."""

    model: float
    """The agent yielded it."""
    logged: float
    """The run log had accepted it."""
    send: float
    """The core handed it to gRPC."""
    recv: float
    """The edge received it."""


class _Event(msgspec.Struct, tag_field="type", rename="camel", omit_defaults=True, kw_only=True, gc=False):
    """What all events share."""

    timestamp: float
    """When the core made the event: Unix milliseconds, to a tenth."""
    timing: Timing | None = None
    """Its stamps, where they were asked for."""


class RunStarted(_Event, tag="run_started", kw_only=True):
    """The run exists and is logged. Always the first event."""

    run_id: str
    """The run's id."""
    session_id: str = ""
    """The session; left out when there is none."""
    agent: str
    """The agent that answers."""
    model: str = ""
    """The model that the agent calls; left out when it names none."""
    traceparent: str = ""
    """W3C trace context of the run, for clients that can't read headers; left out when not traced."""


class TextDelta(_Event, tag="text_delta", kw_only=True):
    """A piece of the answer."""

    content: str
    """The text."""
    tokens: int = 1
    """How many model tokens the piece holds; left out when it is one."""
    first: int | None = msgspec.field(name="from", default=None)
    """In a merged frame: the sequence of its first event. The frame's id is the last one's."""


class ReasoningDelta(_Event, tag="reasoning_delta", kw_only=True):
    """A piece of what the model thought."""

    content: str
    """The text."""
    tokens: int = 1
    """How many model tokens the piece holds; left out when it is one."""
    first: int | None = msgspec.field(name="from", default=None)
    """In a merged frame: the sequence of its first event. The frame's id is the last one's."""


class Progress(_Event, tag="progress", kw_only=True):
    """How far a longer operation has come."""

    percent: float | None = None
    """0 to 100; left out when it can't be told."""
    message: str
    """What is being done."""
    step: str = ""
    """The step's name, for programs; left out when there is none."""


class ToolStart(_Event, tag="tool_start", kw_only=True):
    """A tool call began."""

    call_id: str
    """Names the call within its run."""
    tool: str
    """The tool's name."""
    args: msgspec.Raw
    """The arguments: any JSON value."""


class ToolResult(_Event, tag="tool_result", kw_only=True):
    """A tool call ended."""

    call_id: str
    """The callId of its tool_start."""
    tool: str
    """The tool's name."""
    result: msgspec.Raw
    """What came back: any JSON value."""
    is_error: bool
    """True when the tool failed."""


class Custom(_Event, tag="custom", kw_only=True):
    """An event of the application's own."""

    name: str
    """The event's name."""
    data: msgspec.Raw
    """The data: any JSON value."""


class InputRequested(_Event, tag="input_requested", kw_only=True):
    """The agent asks a person and waits for the answer."""

    input_id: str
    """The id of the question within its run."""
    kind: str
    """approval, choice, text or json."""
    prompt: str
    """The question."""
    schema: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """A JSON Schema of the answer, for choice `{"enum": [...]}`; left out when any value is accepted."""
    expire_time: str = ""
    """When the question expires: RFC 3339; left out when the core gave no time."""


class InputReceived(_Event, tag="input_received", kw_only=True):
    """A question is closed."""

    input_id: str
    """The inputId of its input_requested."""
    outcome: str
    """answered, declined or expired."""


class Usage(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, gc=False):
    """Tokens used over all model calls of a run."""

    input_tokens: int | None = None
    """Tokens read; left out when the provider told none."""
    output_tokens: int | None = None
    """Tokens written; left out when the provider told none."""


class Done(_Event, tag="done", kw_only=True):
    """Terminal: the run ended as it should, or was cancelled."""

    final_message: str
    """The whole answer."""
    final_message_omitted: bool = False
    """True when the answer is too long to be repeated here: join the deltas. Else left out."""
    finish_reason: str
    """stop, length, cancelled or tool_limit."""
    usage: Usage | None = None
    """Tokens used; left out when not told."""


class Error(_Event, tag="error", kw_only=True):
    """Terminal: the run failed, or the edge lost it (then the frame has no id)."""

    code: str
    """The canonical gRPC code's name."""
    message: str
    """What went wrong, fit for a user."""
    retryable: bool
    """True when the same request may succeed if it is sent again."""
    details: dict[str, str] = {}
    """Further facts for programs; left out when there are none."""
    trace_id: str = ""
    """32 hex digits; left out when the run was not traced."""


DeltaEvent: TypeAlias = TextDelta | ReasoningDelta
DeltaType: TypeAlias = type[TextDelta] | type[ReasoningDelta]

DELTAS: Final[Mapping[str, DeltaType]] = {"text_delta": TextDelta, "reasoning_delta": ReasoningDelta}
"""The events that are pieces of text, as nearly all are, by name. Neighbours of one kind may be merged."""

StreamEvent: TypeAlias = (
    RunStarted
    | DeltaEvent
    | Progress
    | ToolStart
    | ToolResult
    | Custom
    | InputRequested
    | InputReceived
    | Done
    | Error
)


class Resync(msgspec.Struct, rename="camel"):
    """Control: events are missing; the stream goes on at `first`."""

    first: str
    """The id of the first event that the log still holds."""
    last: str
    """The id of the log's last event."""
    reason: str
    """trimmed or ahead."""


class CaughtUp(msgspec.Struct, rename="camel"):
    """Control: replay has met the live end."""

    cursor: str
    """The id of the last event sent."""


class Degraded(msgspec.Struct, rename="camel"):
    """Control: the log is away; events come later."""

    message: str
    """What is away."""


class Reconnect(msgspec.Struct, rename="camel"):
    """Control: this edge is going down; follow again."""

    retry_ms: int
    """How long to wait before that."""


ControlEvent: TypeAlias = Resync | CaughtUp | Degraded | Reconnect
