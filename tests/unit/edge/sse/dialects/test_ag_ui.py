"""AG-UI's dialect: its events, their ids, and the same bytes from any frame on."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from edge.errors import RequestError
from edge.sse.dialects.ag_ui import AgUiDialect, FrameCursor, parse_frame_id
from tokenwire import events

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"
STARTED = events.RunStarted(timestamp=1.0, run_id=RUN_ID, session_id="thread", agent="a")


def text(content: str) -> events.TextDelta:
    return events.TextDelta(timestamp=1.0, content=content)


def done(**more: Any) -> events.Done:
    return events.Done(timestamp=1.0, final_message="", **({"finish_reason": "stop"} | more))


def result(call_id: str, value: bytes, *, failed: bool = False) -> events.ToolResult:
    return events.ToolResult(
        timestamp=1.0, call_id=call_id, tool="t", result=msgspec.Raw(value), is_error=failed
    )


RUN: list[events.StreamEvent] = [
    STARTED,
    events.ReasoningDelta(timestamp=1.0, content="Hm"),
    text('a"\n'),
    text("b"),
    events.Progress(timestamp=1.0, percent=40.0, message="m", step="s"),
    events.ToolStart(timestamp=1.0, call_id="c1", tool="t", args=msgspec.Raw(b'{"q":1}')),
    result("c1", b'{"n":12345678901234567890}'),
    result("c2", b'"no"', failed=True),
    events.Custom(timestamp=1.0, name="x.chart", data=msgspec.Raw(b"[1]")),
    text("c"),
    done(usage=events.Usage(input_tokens=11, output_tokens=6)),
]
"""Every kind of event, as events 1 to 11 of a run."""


def written(dialect: AgUiDialect, told: list[events.StreamEvent] = RUN) -> bytes:
    """Return what a dialect writes of a run's events, told as they come."""
    out = bytearray()
    dialect.begin(RUN_ID)
    for sequence, event in enumerate(told, 1):
        if isinstance(event, (events.TextDelta, events.ReasoningDelta)):
            out += dialect.delta_frame((1, sequence, 10, type(event), event.content, 1))
        else:
            dialect.write_event(out, 1, sequence, event)
    dialect.write_end(out)
    return bytes(out)


def frames_of(body: bytes) -> list[bytes]:
    """Return the whole frames of a body that may be cut."""
    return re.findall(rb"data: .*\nid: .*\n\n", body)


def seen(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: ")]


def id_of(frame: bytes) -> str:
    return frame.decode().split("\nid: ")[1].strip()


def test_every_event_has_its_place() -> None:
    """Messages and calls are closed before another begins; arguments and results are JSON in a text."""
    run = {"threadId": "th", "runId": "r"}
    one, two, three = ({"messageId": f"{RUN_ID}-{n}"} for n in (1, 2, 3))
    assert seen(written(AgUiDialect("th", "r"))) == [
        {"type": "RUN_STARTED", **run, "protocolVersion": "1.0"},
        {"type": "REASONING_START", **one},
        {"type": "REASONING_MESSAGE_START", **one, "role": "reasoning"},
        {"type": "REASONING_MESSAGE_CONTENT", **one, "delta": "Hm"},
        {"type": "REASONING_MESSAGE_END", **one},
        {"type": "REASONING_END", **one},
        {"type": "TEXT_MESSAGE_START", **two, "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", **two, "delta": 'a"\n'},
        {"type": "TEXT_MESSAGE_CONTENT", **two, "delta": "b"},
        {
            "type": "CUSTOM",
            "name": "tokenwire.progress",
            "value": {"percent": 40.0, "message": "m", "step": "s"},
        },
        {"type": "TEXT_MESSAGE_END", **two},
        {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "t"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": '{"q":1}'},
        {"type": "TOOL_CALL_END", "toolCallId": "c1"},
        {
            "type": "TOOL_CALL_RESULT",
            "messageId": f"{RUN_ID}-c1",
            "toolCallId": "c1",
            "content": '{"n":12345678901234567890}',
            "role": "tool",
        },
        {"type": "TOOL_CALL_START", "toolCallId": "c2", "toolCallName": "t"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c2", "delta": "null"},
        {"type": "TOOL_CALL_END", "toolCallId": "c2"},
        {
            "type": "TOOL_CALL_RESULT",
            "messageId": f"{RUN_ID}-c2",
            "toolCallId": "c2",
            "content": '"no"',
            "role": "tool",
            "metadata": {"isError": True},
        },
        {"type": "CUSTOM", "name": "x.chart", "value": [1]},
        {"type": "TEXT_MESSAGE_START", **three, "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", **three, "delta": "c"},
        {"type": "TEXT_MESSAGE_END", **three},
        {
            "type": "RUN_FINISHED",
            **run,
            "outcome": {"type": "success"},
            "usage": [{"inputTokens": 11, "outputTokens": 6}],
        },
    ]


def test_the_last_frame_of_an_event_has_the_events_own_id() -> None:
    """Those before it are numbered: no id names two frames."""
    ids = [id_of(frame) for frame in frames_of(written(AgUiDialect()))]
    assert ids[:8] == [f"{RUN_ID}.1.{place}" for place in ["1", "2.1", "2.2", "2", "3.1", "3.2", "3.3", "3"]]
    assert len({*ids}) == len(ids)


def test_a_stream_cut_at_any_byte_goes_on_byte_for_byte() -> None:
    """Behind the last whole frame that a client has, also in the middle of an event."""
    body = written(AgUiDialect())
    whole = frames_of(body)
    rest = {
        id_of(frame): frames_of(written(AgUiDialect(after=parse_frame_id(id_of(frame), RUN_ID))))
        for frame in whole
    }
    for cut in range(len(body) + 1):
        had = frames_of(body[:cut])
        assert had + (rest[id_of(had[-1])] if had else whole) == whole


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (
            done(finish_reason="cancelled"),
            {"type": "RUN_FINISHED", "threadId": "thread", "runId": RUN_ID, "outcome": {"type": "cancelled"}},
        ),
        (
            events.Error(timestamp=1.0, code="INTERNAL", message="m", retryable=True),
            {"type": "RUN_ERROR", "message": "m", "code": "INTERNAL"},
        ),
    ],
)
def test_a_run_ends_once_with_all_closed(end: events.StreamEvent, told: dict[str, Any]) -> None:
    """A client that has named neither thread nor run is told our own names."""
    *_, closed, last = seen(written(AgUiDialect(), [STARTED, text("a"), end]))
    assert closed["type"] == "TEXT_MESSAGE_END"
    assert last == told


def test_an_event_of_the_edges_own_has_no_id() -> None:
    """It is not in the log, and moves no cursor."""
    out = bytearray()
    error = events.Error(timestamp=1.0, code="UNAVAILABLE", message="m", retryable=True)
    AgUiDialect().write_event(out, 0, 0, error)
    assert out == b'data: {"type":"RUN_ERROR","message":"m","code":"UNAVAILABLE"}\n\n'


def test_a_run_without_a_session_is_its_own_thread() -> None:
    """A thread has to have a name."""
    started = events.RunStarted(timestamp=1.0, run_id=RUN_ID, agent="a")
    (first,) = seen(written(AgUiDialect(), [started]))
    assert first["threadId"] == RUN_ID


def test_questions_to_a_person_are_custom_events() -> None:
    """Not interrupts, which end a run of the protocol: ours goes on when the question is answered."""
    asked = events.InputRequested(timestamp=1.0, input_id="1", kind="approval", prompt="Delete?")
    received = events.InputReceived(timestamp=2.0, input_id="1", outcome="answered")
    out = written(AgUiDialect(), [asked, received])
    told = [json.loads(line[6:]) for line in out.decode().splitlines() if line.startswith("data: ")]
    assert [(event["type"], event["name"], event["value"]["inputId"]) for event in told] == [
        ("CUSTOM", "input_requested", "1"),
        ("CUSTOM", "input_received", "1"),
    ]


def test_a_frames_id_names_its_place() -> None:
    """With the frame's number or without."""
    assert parse_frame_id(f"{RUN_ID}.1.7", RUN_ID) == FrameCursor(1, 7, 0)
    assert parse_frame_id(f"{RUN_ID}.2.7.3", RUN_ID) == FrameCursor(2, 7, 3)


@pytest.mark.parametrize(
    "wrong",
    ["", "x", f"{RUN_ID}.1", f"{RUN_ID}.1.7.x", f"{RUN_ID}.1.7.3.4", f"{RUN_ID}.1.7.", f"{'a' * 30}.1.7"],
)
def test_what_is_no_frame_of_the_run_is_refused(wrong: str) -> None:
    """Before anything is streamed."""
    with pytest.raises(RequestError) as raised:
        parse_frame_id(wrong, RUN_ID)
    assert raised.value.details == {"field": "after"}


def test_comments_alone_stand_beside_the_events() -> None:
    """Its clients know neither controls nor a time to come back."""
    out = bytearray()
    dialect = AgUiDialect()
    dialect.write_opening(out, 7)
    dialect.write_retry(out, 9)
    dialect.write_control(out, events.Degraded(message="m"))
    dialect.write_heartbeat(out)
    assert out == b": open\n: heartbeat\n"
    assert dialect.headers() == ()
