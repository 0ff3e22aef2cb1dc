"""OpenAI's dialect: the chunks of a stream, and the whole of an answer."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from edge.sse.dialects.openai import OpenAiDialect, WholeCompletion
from tokenwire import events

STARTED = events.RunStarted(timestamp=1763841600123.4, run_id="run", agent='fruit "agent"')
HEAD = {
    "id": "chatcmpl-run",
    "object": "chat.completion.chunk",
    "created": 1763841600,
    "model": 'fruit "agent"',
}
DELTA = (1, 2, 17638416001234, events.TextDelta, 'a"\n', 1)
OTHERS = [
    events.Progress(timestamp=1.0, message="m"),
    events.ToolStart(timestamp=1.0, call_id="c", tool="t", args=msgspec.Raw(b"{}")),
    events.ToolResult(timestamp=1.0, call_id="c", tool="t", result=msgspec.Raw(b"1"), is_error=False),
    events.Custom(timestamp=1.0, name="n", data=msgspec.Raw(b"1")),
]


def done(reason: str = "stop", **more: Any) -> events.Done:
    return events.Done(timestamp=1.0, final_message="a", finish_reason=reason, **more)


def fed(dialect: OpenAiDialect, *told: events.StreamEvent) -> bytes:
    """Return what a dialect writes of a run, with its end."""
    out = bytearray()
    dialect.begin("run")
    for event in (STARTED, *told):
        dialect.write_event(out, 1, 1, event)
    dialect.write_end(out)
    return bytes(out)


def chunks_of(body: bytes) -> list[Any]:
    frames = body.decode().split("\n\n")
    assert frames.pop() == ""
    return [frame[6:] if frame == "data: [DONE]" else json.loads(frame[6:]) for frame in frames]


def chunk(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
    return HEAD | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def test_an_answer_is_its_texts_and_what_was_thought() -> None:
    """The role first, the reason last; nothing of tools and progress, which clients would act on."""
    thought = events.ReasoningDelta(timestamp=1.0, content="Hm")
    text = events.TextDelta(timestamp=1.0, content='a"\n')
    assert chunks_of(fed(OpenAiDialect(), thought, *OTHERS, text, done())) == [
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "Hm"}),
        chunk({"content": 'a"\n'}),
        chunk({}, "stop"),
        "[DONE]",
    ]


def test_a_delta_is_the_same_chunk_told_alone() -> None:
    """As live tokens are."""
    dialect = OpenAiDialect()
    fed(dialect)
    out = bytearray()
    dialect.write_event(out, 1, 2, events.TextDelta(timestamp=1.0, content='a"\n'))
    assert dialect.delta_frame(DELTA) == out


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (events.Usage(input_tokens=11, output_tokens=6), [11, 6, 17]),
        (events.Usage(output_tokens=6), [0, 6, 6]),
        (None, [0, 0, 0]),
    ],
)
def test_usage_is_told_to_those_who_ask(usage: events.Usage | None, told: list[int]) -> None:
    """In a chunk without choices: clients that have not asked for it look for the first one."""
    end = done("tool_limit", usage=usage)
    assert chunks_of(fed(OpenAiDialect(), end))[-2] == chunk({}, "length")
    counts = dict(zip(["prompt_tokens", "completion_tokens", "total_tokens"], told, strict=True))
    with_usage = chunks_of(fed(OpenAiDialect(include_usage=True), end))
    assert with_usage[-2] == HEAD | {"choices": [], "usage": counts}
    whole = WholeCompletion()
    fed(whole, end)
    assert json.loads(whole.document() or b"")["usage"] == counts


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        (events.Error(timestamp=1.0, code="INTERNAL", message="m", retryable=False), "INTERNAL", "m"),
        (done("cancelled"), "CANCELLED", "The run was cancelled."),
    ],
)
def test_a_run_without_an_answer_is_an_error(
    end: events.Done | events.Error, code: str, message: str
) -> None:
    """And no `[DONE]`, behind which part of an answer would look whole."""
    *_, last = chunks_of(fed(OpenAiDialect(), end))
    assert last == {"error": {"message": message, "type": "server_error", "param": None, "code": code}}
    whole = WholeCompletion()
    assert fed(whole, end) == b"data: [DONE]\n\n"  # which nobody sees
    assert whole.document() is None
    assert WholeCompletion().document() is None


def test_a_whole_answer_is_one_document() -> None:
    """The same text, however its pieces have come."""
    whole = WholeCompletion()
    fed(whole, events.TextDelta(timestamp=1.0, content="b"), *OTHERS)
    assert whole.delta_frame(DELTA) == b""
    assert whole.delta_frame((1, 3, 1, events.ReasoningDelta, "Hm", 1)) == b""
    out = bytearray()
    whole.write_event(out, 1, 9, done())
    message = {"content": 'ba"\n', "role": "assistant", "reasoning_content": "Hm"}
    assert json.loads(whole.document() or b"") == {
        **HEAD,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def test_comments_alone_stand_beside_the_chunks() -> None:
    """Its clients know neither controls nor a time to come back."""
    out = bytearray()
    dialect = OpenAiDialect()
    dialect.write_opening(out, 7)
    dialect.write_retry(out, 9)
    dialect.write_control(out, events.Degraded(message="m"))
    dialect.write_heartbeat(out)
    assert out == b": open\n: heartbeat\n"
    assert dialect.headers() == ()
