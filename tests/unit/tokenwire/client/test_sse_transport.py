"""What an edge's frames and answers mean to the client."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from httpx_sse import ServerSentEvent

from tests.conformance.corpus import Case, load_cases
from tests.support.scripted_transport import RUN_ID
from tests.support.sse_reader import read_all
from tokenwire import events
from tokenwire.client.sse_transport import read_message, refusal
from tokenwire.client.transport import Received
from tokenwire.cursor import parse_event_id


def messages(case: Case) -> list[ServerSentEvent]:
    """Return the messages of a case's frames."""
    return [ServerSentEvent(event=each.event, data=each.data, id=each.id) for each in read_all(case.frames)]


@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case.name)
def test_each_frame_of_the_corpus_is_read(case: Case) -> None:
    """Every event with its id, every control, and an error of the edge without one."""
    last_id, seen = "", []
    for message in messages(case):
        received = read_message(message, case.run_id, last_id)
        last_id = message.id
        if received.event is not None:
            seen.append((str(received.id or ""), type(received.event)))
    kinds: dict[str, type] = {kind.__struct_config__.tag: kind for kind in events.StreamEvent.__args__}
    controls = {
        "caught_up": events.CaughtUp,
        "resync": events.Resync,
        "degraded": events.Degraded,
        "reconnect": events.Reconnect,
    }
    wanted = [
        (item.get("id") or "", kinds[item["data"]["type"]])
        if item["event"] == "message"
        else ("", controls[item["event"]])
        for item in case.client
        if item["event"] in {"message", *controls}
    ]
    assert seen == wanted


def test_what_this_version_does_not_know_keeps_its_place() -> None:
    """An event has an id all the same; a control, or a heartbeat, is passed over."""
    new = ServerSentEvent(data='{"type":"hologram","timestamp":1}', id=f"{RUN_ID}.1.7")
    assert read_message(new, "", "") == Received(RUN_ID, parse_event_id(new.id), None)
    assert read_message(ServerSentEvent(event="aurora", data="{}"), RUN_ID, "") == Received(
        RUN_ID, None, None
    )


def test_when_to_come_back_is_heeded() -> None:
    """By a field, and by an edge that goes down."""
    assert read_message(ServerSentEvent(retry=1500), RUN_ID, "").retry_s == 1.5
    assert read_message(ServerSentEvent(retry=10**400), RUN_ID, "").retry_s == 3600.0
    going = ServerSentEvent(event="reconnect", data='{"retryMs":2500}')
    assert read_message(going, RUN_ID, "") == Received(RUN_ID, None, events.Reconnect(2500), 2.5)


@pytest.mark.parametrize(
    "data",
    ["[]", "{", '{"type":"text_delta"}', '{"type":5}', '{"type":"text_delta","timestamp":1,"content":2}'],
)
def test_what_is_no_event_is_refused(data: str) -> None:
    """It is not an edge that answers; nothing of it is shown."""
    if data == '{"type":5}':
        assert read_message(ServerSentEvent(data=data, id=f"{RUN_ID}.1.1"), "", "").event is None
        return
    with pytest.raises(ValueError):  # noqa: PT011 # msgspec's own texts
        read_message(ServerSentEvent(data=data, id=f"{RUN_ID}.1.1"), "", "")


@pytest.mark.parametrize(
    ("status", "headers", "is_start", "retry_after_s"),
    [
        (503, {"retry-after": "7"}, True, 7.0),
        (503, {}, True, None),
        (503, {}, False, 0.0),
        (429, {"retry-after": "soon"}, False, 0.0),
        (404, {"retry-after": "7"}, False, None),
    ],
)
def test_a_refusal_says_whether_to_ask_again(
    status: int, headers: dict[str, str], retry_after_s: float | None, *, is_start: bool
) -> None:
    """A start only where the server asks for it, anything else whenever it may pass."""
    error = refusal(httpx.Response(status, headers=headers), b"", is_start=is_start)
    assert (error.code, error.retry_after_s) == (f"HTTP {status}", retry_after_s)


def test_a_problem_document_is_read() -> None:
    """RFC 9457: the code, the words and the facts."""
    problem = {"code": "NOT_FOUND", "detail": "Unknown run.", "details": {"reason": "RUN_UNKNOWN"}}
    error = refusal(httpx.Response(404), msgspec.json.encode(problem), is_start=False)
    assert (error.code, error.message, error.reason) == ("NOT_FOUND", "Unknown run.", "RUN_UNKNOWN")


@pytest.mark.parametrize("body", [b"[]", b"<html>", b"", b'{"details": 5}'])
def test_any_other_error_answer_is_read(body: bytes) -> None:
    """A proxy's, for example."""
    error = refusal(httpx.Response(502), body, is_start=True)
    assert (error.code, error.message) == ("HTTP 502", "Bad Gateway")
