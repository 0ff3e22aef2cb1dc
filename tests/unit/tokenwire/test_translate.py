"""From protobuf to the browser's Structs."""

from __future__ import annotations

import msgspec
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tokenwire import events
from tokenwire.cursor import Cursor
from tokenwire.translate import cursor_of, translate, translate_control
from tokenwire.v1 import event_pb2, run_pb2, stream_pb2

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"
WHEN = Timestamp(seconds=1_763_841_600, nanos=123_456_789)
SAMPLES = {
    "run_started": event_pb2.Event(
        create_time=WHEN, run_started=event_pb2.RunStarted(run_id=RUN_ID, agent="a")
    ),
    "text_delta": event_pb2.Event(create_time=WHEN, text_delta=event_pb2.TextDelta(content="t")),
    "reasoning_delta": event_pb2.Event(
        create_time=WHEN, reasoning_delta=event_pb2.ReasoningDelta(content="r", token_count=2)
    ),
    "progress": event_pb2.Event(create_time=WHEN, progress=event_pb2.Progress(percent=0, message="m")),
    "tool_start": event_pb2.Event(create_time=WHEN, tool_start=event_pb2.ToolStart(call_id="c", tool="t")),
    "tool_result": event_pb2.Event(
        create_time=WHEN, tool_result=event_pb2.ToolResult(call_id="c", tool="t", result_json="[\n1\r]")
    ),
    "custom": event_pb2.Event(
        create_time=WHEN, custom=event_pb2.Custom(name="n", data_json="12345678901234567890")
    ),
    "input_requested": event_pb2.Event(
        create_time=WHEN,
        input_requested=event_pb2.InputRequested(
            input_id="1",
            kind=event_pb2.INPUT_KIND_CHOICE,
            prompt="Which?",
            schema_json='{"enum":["red"]}',
            expire_time=WHEN,
        ),
    ),
    "input_received": event_pb2.Event(
        create_time=WHEN,
        input_received=event_pb2.InputReceived(input_id="1", outcome=event_pb2.INPUT_OUTCOME_DECLINED),
    ),
    "done": event_pb2.Event(
        create_time=WHEN,
        done=event_pb2.Done(
            finish_reason=event_pb2.FINISH_REASON_LENGTH, usage=event_pb2.Usage(input_tokens=0)
        ),
    ),
    "error": event_pb2.Event(create_time=WHEN, error=event_pb2.Error(code="INTERNAL", details={"k": "v"})),
}


def test_samples_cover_every_event_of_the_contract() -> None:
    """A new member of the oneof fails here until it has a struct and a sample."""
    declared = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["payload"].fields}
    assert set(SAMPLES) == declared


@pytest.mark.parametrize(("payload", "event"), SAMPLES.items(), ids=str)
def test_each_payload_becomes_its_struct(payload: str, event: event_pb2.Event) -> None:
    """The oneof's field, the JSON type and the Struct's tag are one word; the time is in milliseconds."""
    translated = translate(event)
    assert translated is not None
    assert type(translated).__struct_config__.tag == payload
    assert translated.timestamp == 1_763_841_600_123.4


def test_an_unknown_payload_is_none() -> None:
    """An older edge passes over what a newer core sends."""
    assert translate(event_pb2.Event(sequence=1)) is None


def test_json_text_is_embedded_without_line_breaks_and_without_rounding() -> None:
    """A line break would end the data line; parsing would round the number."""
    result = translate(SAMPLES["tool_result"])
    custom = translate(SAMPLES["custom"])
    start = translate(SAMPLES["tool_start"])
    assert isinstance(result, events.ToolResult)
    assert isinstance(custom, events.Custom)
    assert isinstance(start, events.ToolStart)
    assert result.result == msgspec.Raw(b"[ 1 ]")
    assert custom.data == msgspec.Raw(b"12345678901234567890")
    assert start.args == msgspec.Raw(b"null")


def test_a_question_and_how_it_was_closed_are_told_in_words() -> None:
    """What a newer core says is read as the contract has it; what is absent is left out."""
    asked, received = translate(SAMPLES["input_requested"]), translate(SAMPLES["input_received"])
    assert isinstance(asked, events.InputRequested)
    assert (asked.kind, asked.prompt, asked.schema) == ("choice", "Which?", msgspec.Raw(b'{"enum":["red"]}'))
    assert asked.expire_time == "2025-11-22T20:00:00.123+00:00"
    assert isinstance(received, events.InputReceived)
    assert (received.input_id, received.outcome) == ("1", "declined")
    newer = translate(event_pb2.Event(input_requested=event_pb2.InputRequested(kind=99)))  # type: ignore[arg-type]
    assert isinstance(newer, events.InputRequested)
    assert (newer.kind, newer.schema, newer.expire_time) == ("json", msgspec.UNSET, "")
    later = translate(event_pb2.Event(input_received=event_pb2.InputReceived(outcome=99)))  # type: ignore[arg-type]
    assert isinstance(later, events.InputReceived)
    assert later.outcome == "expired"


def test_absent_and_zero_are_told_apart() -> None:
    """Zero percent and zero tokens are facts; nothing is not zero."""
    zero = translate(SAMPLES["progress"])
    absent = translate(event_pb2.Event(progress=event_pb2.Progress(message="m")))
    done = translate(SAMPLES["done"])
    bare = translate(event_pb2.Event(done=event_pb2.Done(usage=event_pb2.Usage(output_tokens=1))))
    none = translate(event_pb2.Event(done=event_pb2.Done()))
    assert isinstance(zero, events.Progress)
    assert isinstance(absent, events.Progress)
    assert isinstance(done, events.Done)
    assert isinstance(bare, events.Done)
    assert isinstance(none, events.Done)
    assert (zero.percent, absent.percent) == (0, None)
    assert done.usage == events.Usage(input_tokens=0)
    assert bare.usage == events.Usage(output_tokens=1)
    assert none.usage is None


@pytest.mark.parametrize(
    ("number", "word"),
    [(0, "stop"), (1, "stop"), (2, "length"), (3, "cancelled"), (4, "tool_limit"), (99, "stop")],
)
def test_finish_reasons_are_words(number: int, word: str) -> None:
    """A reason that a newer core invents is read as stop."""
    done = event_pb2.Done()
    done.ParseFromString(bytes([0x18, number]))
    translated = translate(event_pb2.Event(done=done))
    assert isinstance(translated, events.Done)
    assert translated.finish_reason == word


def test_an_absent_epoch_is_the_first() -> None:
    """Callers that never met a second epoch leave it out."""
    assert cursor_of(run_pb2.Cursor(sequence=3)) == Cursor(1, 3)
    assert cursor_of(run_pb2.Cursor(epoch=2, sequence=3)) == Cursor(2, 3)


@pytest.mark.parametrize(
    ("control", "translated"),
    [
        (
            stream_pb2.Control(caught_up=stream_pb2.CaughtUp(cursor=run_pb2.Cursor(sequence=3))),
            events.CaughtUp(cursor=f"{RUN_ID}.1.3"),
        ),
        (
            stream_pb2.Control(
                resync=stream_pb2.Resync(
                    first=run_pb2.Cursor(epoch=1, sequence=5),
                    last=run_pb2.Cursor(epoch=2, sequence=6),
                    reason="ahead",
                )
            ),
            events.Resync(first=f"{RUN_ID}.1.5", last=f"{RUN_ID}.2.6", reason="ahead"),
        ),
        (stream_pb2.Control(degraded=stream_pb2.Degraded(message="m")), events.Degraded(message="m")),
        (stream_pb2.Control(draining=stream_pb2.Draining(retry_ms=1)), None),
        (stream_pb2.Control(), None),
    ],
)
def test_controls_become_what_browsers_see(
    control: stream_pb2.Control, translated: events.ControlEvent | None
) -> None:
    """A core that drains is the edge's affair, and an unknown control nobody's."""
    assert translate_control(control, RUN_ID) == translated
