"""The clients of the rolling restart see what is lost, doubled, garbled, or goes on after its end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.checking_clients import Order, Watched, text_of
from bench.event_source import Decoder, Message
from bench.rolling_restart import STOPPED, Plan, Report, report

RUN = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"
TOKENS = 4


def event(number: int, kind: str = "text_delta", **fields: Any) -> Message:
    """Return an event of the run; a token's is told by its number alone."""
    if kind == "text_delta" and not fields:
        fields = {"content": text_of(number, number)}
    return Message("", f"{RUN}.1.{number}", json.dumps({"type": kind, **fields}), None)


def done(number: int, message: str = text_of(2, TOKENS + 1)) -> Message:
    return event(number, "done", finishReason="stop", finalMessage=message)


def watched(*messages: Message) -> Watched:
    """Return a run that was seen so."""
    run = Watched(Order((1, 2), TOKENS, 10))
    for message in messages:
        run.take(message, 1.0)
    run.check()
    return run


def told(*runs: Watched, drain_s: float | None = None) -> Report:
    return report(Plan(len(runs), drain_s=drain_s), runs, [], 0.5)


WHOLE = (event(1, "run_started"), *(event(number) for number in range(2, TOKENS + 2)), done(TOKENS + 2))


def test_a_whole_run_is_one() -> None:
    """Also when some of its tokens came in one frame."""
    merged = event(3, content=text_of(2, 3), **{"from": 2})
    for messages in (WHOLE, (WHOLE[0], merged, *WHOLE[3:])):
        run = watched(*messages)
        assert (run.lost, run.duplicated, run.ends, run.wrong) == (0, 0, ["done"], [])
        assert told(run).ok


@pytest.mark.parametrize(
    ("messages", "lost", "duplicated"),
    [
        ((*WHOLE[:2], *WHOLE[3:]), 1, 0),
        ((*WHOLE[:3], WHOLE[2], *WHOLE[3:]), 0, 1),
        ((*WHOLE[:4], event(4, content=text_of(2, 4), **{"from": 2}), *WHOLE[4:]), 0, 3),
        (WHOLE[3:], 3, 0),
    ],
)
def test_what_is_lost_or_doubled_is_counted(
    messages: tuple[Message, ...], lost: int, duplicated: int
) -> None:
    """Event by event, and the report is not fine then."""
    run = watched(*messages)
    assert (run.lost, run.duplicated) == (lost, duplicated)
    assert not told(run).ok


@pytest.mark.parametrize(
    "messages",
    [
        WHOLE[:-1],
        (*WHOLE, done(TOKENS + 3)),
        (*WHOLE[:2], event(3, content="00009"), *WHOLE[3:]),
        (*WHOLE[:-1], done(TOKENS + 2, "something else")),
        (*WHOLE[:-1], event(TOKENS + 2, "error", code="INTERNAL")),
        (*WHOLE[:2], Message("resync", "", '{"reason": "trimmed"}', None), *WHOLE[2:]),
        (Message("", "", '{"type": "error", "code": "UNAVAILABLE"}', None),),
    ],
    ids=[
        "no end",
        "two ends",
        "another text",
        "another answer",
        "an error",
        "a resync",
        "the edge's own error",
    ],
)
def test_a_run_that_did_not_go_as_it_must_spoils_the_report(messages: tuple[Message, ...]) -> None:
    """Whatever else is fine."""
    assert not told(watched(*WHOLE), watched(*messages)).ok


def test_only_a_core_without_time_may_stop_runs() -> None:
    """With time for all of them, its error is a failure."""
    stopped = event(TOKENS + 2, "error", code="UNAVAILABLE", details={"reason": STOPPED})
    run = watched(*WHOLE[:-1], stopped)
    assert told(run, drain_s=1).ok
    assert not told(run).ok


def test_a_process_that_ends_badly_spoils_the_report() -> None:
    """Nothing was lost, but it did not go down in order."""
    assert not report(Plan(1), [watched(*WHOLE)], [{"process": "edge 1", "exit_status": 1}], 0).ok


def test_the_decoder_reads_streams_cut_anywhere() -> None:
    """Comments and unknown fields say nothing; a block without its blank line is no message."""
    text = b'retry: 7\n: open\n\nid: a\ndata: {"x":\ndata: 1}\n\n: heartbeat\nevent: ping\na: 1\ndata: {}\n\n'
    text += b"data: cut"
    whole = Decoder().feed(text)
    assert whole == [
        Message("", "", "", 7),
        Message("", "a", '{"x":\n1}', None),
        Message("ping", "", "{}", None),
    ]
    for cut in range(len(text)):
        decoder = Decoder()
        assert [*decoder.feed(text[:cut]), *decoder.feed(text[cut:])] == whole
