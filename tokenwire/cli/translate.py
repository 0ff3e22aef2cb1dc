"""From protobuf events to the fields that the browser's JSON has. Pure.

The edge has its own, faster translation into structs: the command line imports nothing of it. A
test holds both against the conformance corpus.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from tokenwire.cli.doors import Received
from tokenwire.v1 import event_pb2, run_pb2, stream_pb2

FINISH_REASONS: Final = {
    event_pb2.FINISH_REASON_LENGTH: "length",
    event_pb2.FINISH_REASON_CANCELLED: "cancelled",
    event_pb2.FINISH_REASON_TOOL_LIMIT: "tool_limit",
}
"""All others are read as stop."""


def received(event: event_pb2.Event, run_id: str) -> Received:
    """Return an event of the run; one without a type when its payload is unknown here."""
    payload = event.WhichOneof("payload")
    if payload is None:
        return Received(f"{run_id}.{event.epoch or 1}.{event.sequence}", "", {})
    created = event.create_time
    timestamp = created.seconds * 1000 + created.nanos // 100_000 / 10
    fields = {"timestamp": timestamp, **_FIELDS[payload](event)}
    return Received(f"{run_id}.{event.epoch or 1}.{event.sequence}", payload, fields)


def received_control(control: stream_pb2.Control, run_id: str) -> Received | None:
    """Return what was said between events, or None when it is unknown here."""
    match control.WhichOneof("control"):
        case "caught_up":
            fields: dict[str, Any] = {"cursor": _id(control.caught_up.cursor, run_id)}
        case "resync":
            resync = control.resync
            fields = {"first": _id(resync.first, run_id), "last": _id(resync.last, run_id)}
            fields["reason"] = resync.reason
        case "degraded":
            fields = {"message": control.degraded.message}
        case "draining":
            fields = {"retryMs": control.draining.retry_ms}
        case _:
            return None
    return Received("", control.WhichOneof("control") or "", fields, is_control=True)


def cursor_of(event_id: str) -> run_pb2.Cursor | None:
    """Return the position that an id holds; None for an empty id."""
    if not event_id:
        return None
    _, epoch, sequence = event_id.rsplit(".", 2)
    return run_pb2.Cursor(epoch=int(epoch), sequence=int(sequence))


def _id(cursor: run_pb2.Cursor, run_id: str) -> str:
    return f"{run_id}.{cursor.epoch or 1}.{cursor.sequence}"


def _json(text: str) -> Any:
    return json.loads(text) if text else None


def _present(**fields: Any) -> dict[str, Any]:
    """Return the fields that are there: neither None, nor empty, nor zero, nor false."""
    return {name: value for name, value in fields.items() if value}


def _run_started(event: event_pb2.Event) -> dict[str, Any]:
    started = event.run_started
    return {
        "runId": started.run_id,
        "agent": started.agent,
        **_present(sessionId=started.session_id, model=started.model, traceparent=started.traceparent),
    }


def _delta(delta: event_pb2.TextDelta | event_pb2.ReasoningDelta) -> dict[str, Any]:
    return {"content": delta.content, **({"tokens": delta.token_count} if delta.token_count > 1 else {})}


def _progress(event: event_pb2.Event) -> dict[str, Any]:
    progress = event.progress
    percent = {"percent": progress.percent} if progress.HasField("percent") else {}
    return {**percent, "message": progress.message, **_present(step=progress.step)}


def _tool_start(event: event_pb2.Event) -> dict[str, Any]:
    start = event.tool_start
    return {"callId": start.call_id, "tool": start.tool, "args": _json(start.args_json)}


def _tool_result(event: event_pb2.Event) -> dict[str, Any]:
    result = event.tool_result
    return {
        "callId": result.call_id,
        "tool": result.tool,
        "result": _json(result.result_json),
        "isError": result.is_error,
    }


def _custom(event: event_pb2.Event) -> dict[str, Any]:
    return {"name": event.custom.name, "data": _json(event.custom.data_json)}


def _done(event: event_pb2.Event) -> dict[str, Any]:
    done = event.done
    fields: dict[str, Any] = {
        "finalMessage": done.final_message,
        **_present(finalMessageOmitted=done.final_message_omitted),
        "finishReason": FINISH_REASONS.get(done.finish_reason, "stop"),
    }
    if done.HasField("usage"):
        fields["usage"] = _usage(done.usage)
    return fields


def _usage(usage: event_pb2.Usage) -> dict[str, int]:
    counts = {}
    if usage.HasField("input_tokens"):
        counts["inputTokens"] = usage.input_tokens
    if usage.HasField("output_tokens"):
        counts["outputTokens"] = usage.output_tokens
    return counts


def _error(event: event_pb2.Event) -> dict[str, Any]:
    error = event.error
    return {
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        **_present(details=dict(error.details), traceId=error.trace_id),
    }


_FIELDS: Final[dict[str, Callable[[event_pb2.Event], dict[str, Any]]]] = {
    "run_started": _run_started,
    "text_delta": lambda event: _delta(event.text_delta),
    "reasoning_delta": lambda event: _delta(event.reasoning_delta),
    "progress": _progress,
    "tool_start": _tool_start,
    "tool_result": _tool_result,
    "custom": _custom,
    "done": _done,
    "error": _error,
}
