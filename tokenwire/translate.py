"""From the core's protobuf messages to the browser's Structs. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Final

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from tokenwire import events
from tokenwire.cursor import Cursor, EventId
from tokenwire.v1 import event_pb2, run_pb2, stream_pb2

FINISH_REASON: Final[dict[int, str]] = {
    event_pb2.FINISH_REASON_UNSPECIFIED: "stop",
    event_pb2.FINISH_REASON_STOP: "stop",
    event_pb2.FINISH_REASON_LENGTH: "length",
    event_pb2.FINISH_REASON_CANCELLED: "cancelled",
    event_pb2.FINISH_REASON_TOOL_LIMIT: "tool_limit",
}
"""The word for each finish reason. A newer core's unknown one is read as stop."""

INPUT_KIND: Final[dict[int, str]] = {
    event_pb2.INPUT_KIND_UNSPECIFIED: "text",
    event_pb2.INPUT_KIND_APPROVAL: "approval",
    event_pb2.INPUT_KIND_CHOICE: "choice",
    event_pb2.INPUT_KIND_TEXT: "text",
    event_pb2.INPUT_KIND_JSON: "json",
}
"""The word for each kind of question. A newer core's unknown one is read as json."""

INPUT_OUTCOME: Final[dict[int, str]] = {
    event_pb2.INPUT_OUTCOME_ANSWERED: "answered",
    event_pb2.INPUT_OUTCOME_DECLINED: "declined",
    event_pb2.INPUT_OUTCOME_EXPIRED: "expired",
}
"""The word for each outcome of a question. An unknown one is read as expired."""


def translate(event: event_pb2.Event) -> events.StreamEvent | None:
    """Return the event as browsers see it, or None when its payload is unknown here."""
    payload = event.WhichOneof("payload")
    if payload is None:
        return None
    created = event.create_time
    timestamp = created.seconds * 1000 + created.nanos // 100_000 / 10
    return _TRANSLATORS[payload](event, timestamp)


def translate_control(control: stream_pb2.Control, run_id: str) -> events.ControlEvent | None:
    """Return the control as browsers see it, or None when it is not theirs to see.

    That a core is going down (`draining`) is the edge's affair; so is a control unknown here.

    Args:
        control: What the core said.
        run_id: The run of which it was said.
    """
    match control.WhichOneof("control"):
        case "caught_up":
            return events.CaughtUp(cursor=_event_id(run_id, control.caught_up.cursor))
        case "resync":
            resync = control.resync
            return events.Resync(
                first=_event_id(run_id, resync.first),
                last=_event_id(run_id, resync.last),
                reason=resync.reason,
            )
        case "degraded":
            return events.Degraded(message=control.degraded.message)
        case _:
            return None


def cursor_of(cursor: run_pb2.Cursor) -> Cursor:
    """Return the cursor that a message holds; an epoch of 0 is read as 1."""
    return Cursor(cursor.epoch or 1, cursor.sequence)


def time_text(time: Timestamp) -> str:
    """Return a time as JSON tells it: RFC 3339 in UTC, to a millisecond."""
    return time.ToDatetime(tzinfo=UTC).isoformat(timespec="milliseconds")


def _event_id(run_id: str, cursor: run_pb2.Cursor) -> str:
    return str(EventId(run_id, cursor_of(cursor)))


def _raw(json_text: str) -> msgspec.Raw:
    """Return a JSON text to be embedded as it is: neither parsed nor rounded.

    A line break in valid JSON is mere white space, but would end the frame's `data:` line.
    """
    if "\n" in json_text or "\r" in json_text:
        json_text = json_text.replace("\n", " ").replace("\r", " ")
    return msgspec.Raw(json_text.encode() or b"null")


def _run_started(event: event_pb2.Event, timestamp: float) -> events.StreamEvent:
    started = event.run_started
    return events.RunStarted(
        timestamp=timestamp,
        run_id=started.run_id,
        session_id=started.session_id,
        agent=started.agent,
        model=started.model,
        traceparent=started.traceparent,
    )


def _text_delta(event: event_pb2.Event, timestamp: float) -> events.StreamEvent:
    delta = event.text_delta
    return events.TextDelta(timestamp=timestamp, content=delta.content, tokens=delta.token_count or 1)


def _reasoning_delta(event: event_pb2.Event, timestamp: float) -> events.StreamEvent:
    delta = event.reasoning_delta
    return events.ReasoningDelta(timestamp=timestamp, content=delta.content, tokens=delta.token_count or 1)


def _progress(event: event_pb2.Event, timestamp: float) -> events.StreamEvent:
    progress = event.progress
    return events.Progress(
        timestamp=timestamp,
        percent=progress.percent if progress.HasField("percent") else None,
        message=progress.message,
        step=progress.step,
    )


def _tool_start(event: event_pb2.Event, timestamp: float) -> events.StreamEvent:
    start = event.tool_start
    return events.ToolStart(
        timestamp=timestamp, call_id=start.call_id, tool=start.tool, args=_raw(start.args_json)
    )


def _tool_result(event: event_pb2.Event, timestamp: float) -> events.StreamEvent:
    result = event.tool_result
    return events.ToolResult(
        timestamp=timestamp,
        call_id=result.call_id,
        tool=result.tool,
        result=_raw(result.result_json),
        is_error=result.is_error,
    )


def _custom(event: event_pb2.Event, timestamp: float) -> events.StreamEvent:
    custom = event.custom
    return events.Custom(timestamp=timestamp, name=custom.name, data=_raw(custom.data_json))


def _input_requested(event: event_pb2.Event, timestamp: float) -> events.StreamEvent:
    asked = event.input_requested
    return events.InputRequested(
        timestamp=timestamp,
        input_id=asked.input_id,
        kind=INPUT_KIND.get(asked.kind, "json"),
        prompt=asked.prompt,
        schema=_raw(asked.schema_json) if asked.schema_json else msgspec.UNSET,
        expire_time=time_text(asked.expire_time) if asked.HasField("expire_time") else "",
    )


def _input_received(event: event_pb2.Event, timestamp: float) -> events.StreamEvent:
    received = event.input_received
    return events.InputReceived(
        timestamp=timestamp,
        input_id=received.input_id,
        outcome=INPUT_OUTCOME.get(received.outcome, "expired"),
    )


def _done(event: event_pb2.Event, timestamp: float) -> events.StreamEvent:
    done = event.done
    return events.Done(
        timestamp=timestamp,
        final_message=done.final_message,
        final_message_omitted=done.final_message_omitted,
        finish_reason=FINISH_REASON.get(done.finish_reason, "stop"),
        usage=_usage(done.usage) if done.HasField("usage") else None,
    )


def _usage(usage: event_pb2.Usage) -> events.Usage:
    return events.Usage(
        input_tokens=usage.input_tokens if usage.HasField("input_tokens") else None,
        output_tokens=usage.output_tokens if usage.HasField("output_tokens") else None,
    )


def _error(event: event_pb2.Event, timestamp: float) -> events.StreamEvent:
    error = event.error
    return events.Error(
        timestamp=timestamp,
        code=error.code,
        message=error.message,
        retryable=error.retryable,
        details=dict(error.details),
        trace_id=error.trace_id,
    )


_TRANSLATORS: Final[dict[str, Callable[[event_pb2.Event, float], events.StreamEvent]]] = {
    "run_started": _run_started,
    "text_delta": _text_delta,
    "reasoning_delta": _reasoning_delta,
    "progress": _progress,
    "tool_start": _tool_start,
    "tool_result": _tool_result,
    "custom": _custom,
    "input_requested": _input_requested,
    "input_received": _input_received,
    "done": _done,
    "error": _error,
}
