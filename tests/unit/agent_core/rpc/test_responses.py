"""Streamed responses as bytes."""

import pytest

from agent_core.log.contract import Batch, Position
from agent_core.log.encoding import encode_payload, new_event, seal
from agent_core.rpc.responses import ResponseEncoder
from agent_core.runs.follower import CaughtUp, Draining, FollowItem, Resync
from tokenwire.v1.agent_service_pb2 import FollowRunResponse, StreamRunResponse
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.link_pb2 import LinkBatch
from tokenwire.v1.stream_pb2 import Clock, Control

RUN_ID = "k7q2" + "a" * 26
CLOCK_ID = 2**64 - 1


def events(count: int, size: int = 5) -> list[bytes]:
    made = []
    for sequence in range(1, count + 1):
        event = new_event(sequence)
        event.text_delta.content = "x" * size
        payload = encode_payload(event, sequence)
        made += seal((payload,), epoch=1, first=sequence, logged_nano=sequence)
    return made


@pytest.mark.parametrize("kind", [StreamRunResponse, FollowRunResponse])
@pytest.mark.parametrize(("count", "size"), [(1, 1), (3, 200), (512, 40_000)])
def test_events_arrive_as_protobuf_would_have_built_them(
    kind: type[StreamRunResponse | FollowRunResponse], count: int, size: int
) -> None:
    """The first response tells the wall clock too; the next ones only the monotonic one."""
    encoder = ResponseEncoder(RUN_ID, CLOCK_ID)
    given = Batch(1, events(count, size), False, Position(1, count))
    expected = kind(run_id=RUN_ID, events=list(map(Event.FromString, given.events)))
    expected.clock.CopyFrom(Clock(id=CLOCK_ID, send_nano=7, send_unix_nano=8))
    assert kind.FromString(encoder.encode(given, 7, 8)) == expected
    expected.clock.CopyFrom(Clock(id=CLOCK_ID, send_nano=9))
    assert kind.FromString(encoder.encode(given, 9, 10)) == expected


@pytest.mark.parametrize(
    ("given", "control"),
    [
        (CaughtUp(Position(2, 9)), {"caught_up": {"cursor": {"epoch": 2, "sequence": 9}}}),
        (
            Resync(Position(1, 3), Position(1, 8), "trimmed"),
            {
                "resync": {
                    "first": {"epoch": 1, "sequence": 3},
                    "last": {"epoch": 1, "sequence": 8},
                    "reason": "trimmed",
                }
            },
        ),
        (Draining(), {"draining": {"retry_ms": 1000}}),
    ],
)
def test_controls_come_alone(given: FollowItem, control: dict[str, object]) -> None:
    """Never together with events."""
    response = FollowRunResponse.FromString(ResponseEncoder(RUN_ID, 1).encode(given, 7, 8))
    assert response.control == Control(**control)
    assert not response.events


def test_both_streamed_responses_have_the_same_fields() -> None:
    """One encoder serves both; a change of one alone fails here."""
    numbers = [
        {field.name: (field.number, field.type) for field in message.DESCRIPTOR.fields}
        for message in (StreamRunResponse, FollowRunResponse)
    ]
    assert numbers[0] == numbers[1]
    assert LinkBatch.EVENTS_FIELD_NUMBER == FollowRunResponse.EVENTS_FIELD_NUMBER
