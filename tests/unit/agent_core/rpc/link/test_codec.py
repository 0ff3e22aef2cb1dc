"""Responses of a link as bytes."""

from __future__ import annotations

import pytest

from agent_core.errors import (
    ClockSkewError,
    CoreDrainingError,
    InvalidRequestError,
    LimitReachedError,
    RefusalError,
    UnknownRunError,
    Violation,
)
from agent_core.log.encoding import encode_payload, new_event, seal
from agent_core.log.position import Position
from agent_core.rpc.link.codec import (
    END,
    MessageEncoder,
    control_batch,
    draining,
    error_of,
    events_batch,
    follow_fields,
    refusal_batch,
    welcome,
)
from agent_core.runs.follower import CaughtUp, Degraded, Draining, Resync
from tokenwire.reasons import Reason
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.link_pb2 import LinkBatch, LinkEnd, LinkResponse, LinkWelcome
from tokenwire.v1.run_pb2 import Cursor
from tokenwire.v1.stream_pb2 import CaughtUp as CaughtUpMessage
from tokenwire.v1.stream_pb2 import Clock, Control

RUN_ID = "k7q2" + "a" * 26
CLOCK_ID = 2**64 - 1
IDS = [1, 127, 128, 2**64 - 1]


def events(count: int, size: int = 5) -> list[bytes]:
    made = []
    for sequence in range(1, count + 1):
        event = new_event(sequence)
        event.text_delta.content = "x" * size
        made += seal((encode_payload(event, sequence),), epoch=1, first=sequence, logged_nano=sequence)
    return made


def message(*fields: bytes, lag_nano: int = 0) -> bytes:
    return MessageEncoder(CLOCK_ID).message(fields, 7, 8, lag_nano)


def expected(*batches: LinkBatch, **fields: object) -> LinkResponse:
    clock = Clock(id=CLOCK_ID, send_nano=7, send_unix_nano=8)
    return LinkResponse(clock=clock, batches=batches, **fields)


@pytest.mark.parametrize("follow_id", IDS)
@pytest.mark.parametrize("run_id", ["", RUN_ID])
@pytest.mark.parametrize(("count", "size"), [(1, 1), (1, 200), (3, 40_000), (512, 3)])
@pytest.mark.parametrize("is_last", [False, True])
def test_events_are_the_bytes_that_protobuf_would_have_built(
    follow_id: int, run_id: str, count: int, size: int, is_last: bool
) -> None:
    """Byte for byte, fields in the order of their numbers; the bytes of credit are those of the events."""
    given = events(count, size)
    batch, size_bytes = events_batch(follow_fields(follow_id, run_id), given, END if is_last else b"")
    told = LinkBatch(
        follow_id=follow_id,
        run_id=run_id,
        events=map(Event.FromString, given),
        end=LinkEnd() if is_last else None,
        event_bytes=size_bytes,
    )
    assert size_bytes == sum(map(len, given))
    # The events keep the field order of the log, so they are compared as they are put in.
    built = message(batch)
    assert LinkResponse.FromString(built) == expected(told)
    head, tail = built[: -len(batch)], built[-len(batch) :]
    assert head == expected().SerializeToString()
    unsealed = [Event.FromString(event).SerializeToString() for event in given]
    plain, _ = events_batch(follow_fields(follow_id, run_id), unsealed, END if is_last else b"")
    told.event_bytes = sum(map(len, unsealed))
    assert plain == LinkResponse(batches=[told]).SerializeToString()
    assert tail == batch


def test_a_follow_may_end_without_an_event() -> None:
    """One who has the terminal event already."""
    batch, size_bytes = events_batch(follow_fields(9, RUN_ID), (), END)
    assert size_bytes == 0
    told = LinkBatch(follow_id=9, run_id=RUN_ID, end=LinkEnd())
    assert message(batch) == expected(told).SerializeToString()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (CaughtUp(Position(2, 9)), "caught_up"),
        (Resync(Position(1, 3), Position(1, 8), "trimmed"), "resync"),
        (Draining(), "draining"),
        (Degraded(), "degraded"),
    ],
)
def test_a_control_stands_alone_in_its_batch(
    given: CaughtUp | Resync | Draining | Degraded, name: str
) -> None:
    """It takes no credit."""
    built = message(control_batch(follow_fields(3), given))
    (batch,) = LinkResponse.FromString(built).batches
    assert batch.control.WhichOneof("control") == name
    assert not batch.events
    assert not batch.HasField("end")
    assert built == expected(LinkBatch(follow_id=3, control=batch.control)).SerializeToString()


def test_a_control_says_what_it_is_given() -> None:
    """Such as the cursor at which the replay has met the live end."""
    batch = control_batch(follow_fields(3), CaughtUp(Position(2, 9)))
    control = Control(caught_up=CaughtUpMessage(cursor=Cursor(epoch=2, sequence=9)))
    assert LinkResponse.FromString(batch).batches[0].control == control


@pytest.mark.parametrize("lag_nano", [0, 1, 10_000_001, 2**40])
def test_every_message_tells_the_clock(lag_nano: int) -> None:
    """Both clocks each time, and how long the loop stood still where it did."""
    empty = LinkResponse(clock=Clock(id=CLOCK_ID, send_nano=7, send_unix_nano=8, loop_lag_nano=lag_nano))
    assert message(lag_nano=lag_nano) == empty.SerializeToString()


def test_the_welcome_and_the_word_that_the_core_goes_down_stand_beside_batches() -> None:
    """In the order of their numbers."""
    batch, _ = events_batch(follow_fields(1), (), END)
    told = LinkResponse.FromString(message(batch, welcome("k7q2"), draining()))
    assert told.hello == LinkWelcome(incarnation="k7q2")
    assert told.draining.retry_ms == 1000
    assert message(batch, welcome("k7q2"), draining()) == told.SerializeToString()


VIOLATIONS = [Violation("run.message", "must be 1 to 9 bytes"), Violation("run.user_id", "is too long")]


@pytest.mark.parametrize(
    ("refusal", "details", "retryable"),
    [
        (UnknownRunError(), {}, False),
        (
            InvalidRequestError(VIOLATIONS),
            {"field": "run.message", "violation": "must be 1 to 9 bytes"},
            False,
        ),
        (CoreDrainingError(), {"retry_after_ms": "1000"}, True),
        (
            LimitReachedError(Reason.START_RATE_LIMIT, "max_starts", 3, 0.25),
            {"limit": "max_starts", "most": "3", "retry_after_ms": "250"},
            True,
        ),
        (ClockSkewError(-12), {"caller_ahead_s": "-12"}, False),
    ],
)
def test_a_refusal_tells_all_that_the_status_of_a_call_does(
    refusal: RefusalError, details: dict[str, str], retryable: bool
) -> None:
    """The edge makes the same of it as of a refused call."""
    error = error_of(refusal, "t" * 32)
    assert (error.code, error.message, error.trace_id) == (refusal.code, refusal.message, "t" * 32)
    assert dict(error.details) == {"reason": refusal.reason, **details}
    assert error.retryable is retryable
    (batch,) = LinkResponse.FromString(refusal_batch(follow_fields(4), refusal, "t" * 32)).batches
    assert batch == LinkBatch(follow_id=4, end=LinkEnd(error=error))
