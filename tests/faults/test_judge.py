"""The judge of all these tests: it must see what a reader must never meet."""

from __future__ import annotations

import pytest

from tests.support.reading import Reading
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.event_pb2 import Event


def text(sequence: int, content: str | None = None) -> Event:
    event = Event(sequence=sequence, epoch=1)
    event.text_delta.content = str(sequence) if content is None else content
    return event


def done(sequence: int, message: str) -> Event:
    event = Event(sequence=sequence, epoch=1)
    event.done.final_message = message
    return event


def lost(sequence: int) -> Event:
    event = Event(sequence=sequence, epoch=2)
    event.error.code = "UNAVAILABLE"
    return event


def read(*events: Event) -> Reading:
    reading = Reading()
    for event in events:
        reading.feed(pb.FollowRunResponse(events=[event]))
    return reading


def resync(reading: Reading, first: int) -> None:
    response = pb.FollowRunResponse()
    response.control.resync.first.sequence = first
    reading.feed(response)


@pytest.mark.parametrize("end", [done(3, "12"), lost(3)])
def test_a_whole_reading_has_no_fault(end: Event) -> None:
    """All numbers once, and one end."""
    reading = read(text(1), text(2), end)
    assert reading.ended
    assert reading.faults() == []


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        ((text(1), text(3), done(4, "13")), "event 3 came instead of 2"),
        ((text(1), text(2), text(2), done(3, "122")), "event 2 came instead of 3"),
        ((text(2), done(3, "2")), "event 2 came instead of 1"),
        ((text(1), text(2)), "terminal events at []"),
        ((text(1), done(2, "1"), lost(3)), "terminal events at [2, 3]"),
        ((text(1), done(2, "1"), lost(3)), "event 3 came after the end"),
        ((text(1), done(2, "other")), "is not the final message"),
        ((text(1), lost(2), text(3)), "earlier epoch"),
        ((), "terminal events at []"),
    ],
)
def test_each_fault_is_named(events: tuple[Event, ...], fault: str) -> None:
    """A gap, a double, a missing beginning or end, two ends, another text."""
    assert any(fault in found for found in read(*events).faults())


def test_after_a_resync_the_rest_counts() -> None:
    """It begins where that said, and says again what it said before."""
    trimmed = read(text(1))
    resync(trimmed, 5)
    trimmed.feed(pb.FollowRunResponse(events=[text(5), done(6, "12345")]))
    assert trimmed.faults() == []

    again = read(text(1), text(2))
    resync(again, 1)
    again.feed(pb.FollowRunResponse(events=[text(1), text(2, "two"), done(3, "1two")]))
    assert again.faults() == ["event 2 says something else the second time"]

    elsewhere = read(text(1))
    resync(elsewhere, 5)
    elsewhere.feed(pb.FollowRunResponse(events=[text(6), done(7, "6")]))
    assert elsewhere.faults() == ["event 6 came instead of 5"]
