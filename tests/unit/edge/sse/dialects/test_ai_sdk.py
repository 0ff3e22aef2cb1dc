"""The AI SDK's dialect: exact bytes, and the same bytes from any chunk on."""

from __future__ import annotations

import json
import re

import pytest

from edge.sse.dialects import AiSdkDialect
from tests.conformance.corpus import Case, load_cases, written
from tokenwire import events

CASES = load_cases("ai_sdk")
END = b"data: [DONE]\n\n"


def frames_of(body: bytes) -> list[bytes]:
    """Return the whole chunks of a body that may be cut: their frames, without comments."""
    return re.findall(rb"data: .*\n\n", body.replace(END, b""))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_dialect_writes_exactly_these_bytes(case: Case) -> None:
    """A byte that changes here changes for every page there is."""
    frames = written(case, AiSdkDialect())
    assert frames == case.frames
    assert [json.loads(frame[6:]) for frame in frames_of(frames)] == case.client


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stream_cut_at_any_byte_goes_on_byte_for_byte(case: Case) -> None:
    """What a client has counted, and what comes from there on, is the whole: no chunk twice, none missing."""
    whole = frames_of(case.frames)
    rest = {
        start: frames_of(written(case, AiSdkDialect(start_index=start))) for start in range(len(whole) + 1)
    }
    for cut in range(len(case.frames) + 1):
        had = frames_of(case.frames[:cut])
        if len(had) < len(whole):
            assert had + rest[len(had)] == whole


@pytest.mark.parametrize("start_index", [len(CASES[0].client), 10_000])
def test_who_has_more_than_there_is_gets_the_finish(start_index: int) -> None:
    """A client that counts chunks asks again and again until it has read one."""
    frames = frames_of(written(CASES[0], AiSdkDialect(start_index=start_index)))
    assert [json.loads(frame[6:])["type"] for frame in frames] == ["finish"]


def test_a_delta_that_opens_a_part_is_written_with_its_beginning() -> None:
    """Told alone, as live tokens are, or as any event: the same chunks, whatever the client has."""
    delta = (1, 2, 17638416001234, events.TextDelta, 'a"', 1)
    event = events.TextDelta(timestamp=1.0, content='a"')
    for start_index, count in [(0, 3), (1, 2), (2, 1), (3, 0)]:
        alone, as_event = AiSdkDialect(start_index=start_index), AiSdkDialect(start_index=start_index)
        out = bytearray()
        as_event.write_event(out, 1, 2, event)
        as_event.write_event(out, 1, 3, event)
        assert alone.delta_frame(delta) + alone.delta_frame(delta) == out
        assert len(frames_of(bytes(out))) == count
        assert alone.chunks == as_event.chunks == 3


def test_the_headers_name_the_protocol_and_the_run() -> None:
    """The last chunk's index is told to those that count from the end."""
    dialect = AiSdkDialect(tail_index=41)
    version = (b"x-vercel-ai-ui-message-stream", b"v1")
    tail = (b"x-workflow-stream-tail-index", b"41")
    assert dialect.headers() == [version, tail]
    dialect.begin("run")
    assert dialect.headers() == [version, (b"x-workflow-run-id", b"run"), tail]
    assert AiSdkDialect().headers() == [version]


def test_there_is_no_time_to_come_back() -> None:
    """Its clients know none: only a comment, which defeats buffering, comes before the first chunk."""
    out = bytearray()
    dialect = AiSdkDialect()
    dialect.write_opening(out, 7)
    dialect.write_retry(out, 9)
    assert out == b": open\n"


def test_a_question_is_a_part_that_is_replaced_when_it_is_closed() -> None:
    """Parts of one type and id are one to the AI SDK; open text ends before it."""
    dialect, out = AiSdkDialect(), bytearray()
    dialect.write_event(out, 1, 2, events.TextDelta(timestamp=1.0, content="a"))
    dialect.write_event(
        out, 1, 3, events.InputRequested(timestamp=1.0, input_id="1", kind="approval", prompt="Delete?")
    )
    dialect.write_event(out, 1, 4, events.InputReceived(timestamp=2.0, input_id="1", outcome="answered"))
    chunks = [json.loads(frame[6:]) for frame in frames_of(bytes(out))][2:]
    assert [chunk["type"] for chunk in chunks] == ["text-end", "data-input", "data-input"]
    assert [chunk["id"] for chunk in chunks[1:]] == ["1", "1"]
    assert chunks[1]["data"] | {"timestamp": 0} == {
        "type": "input_requested",
        "timestamp": 0,
        "inputId": "1",
        "kind": "approval",
        "prompt": "Delete?",
    }
    assert chunks[2]["data"]["outcome"] == "answered"
