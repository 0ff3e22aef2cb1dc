"""Events as bytes."""

from typing import Literal

import pytest
from google.protobuf.internal.decoder import _DecodeVarint
from hypothesis import given
from hypothesis import strategies as st

from agent_core.log.encoding import (
    DELTA_REUSE_BYTES,
    DeltaEncoder,
    encode_payload,
    new_event,
    seal,
    varint,
)
from tokenwire.telemetry.clock import clock_tag
from tokenwire.v1.event_pb2 import Event

U64 = st.integers(0, 2**64 - 1)


@given(U64)
def test_varints_are_read_back_by_protobuf(value: int) -> None:
    """Base 128, low bits first."""
    encoded = varint(value)
    assert _DecodeVarint(encoded, 0) == (value, len(encoded))


@pytest.mark.parametrize(
    ("value", "encoded"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02")]
)
def test_varints_are_as_short_as_can_be(value: int, encoded: bytes) -> None:
    """The borders, byte by byte."""
    assert varint(value) == encoded


@given(U64, U64, st.integers(1, 2**64 - 2), st.integers(1, 2**32 - 1), st.text(st.characters(codec="utf-8")))
def test_sealing_adds_the_number_and_the_stamp_and_nothing_else(
    model: int, logged: int, sequence: int, epoch: int, content: str
) -> None:
    """A sealed payload is the event that protobuf itself would have built."""
    event = new_event(1_763_841_600_123_456_789)
    event.text_delta.content = content
    payload = encode_payload(event, model)
    expected = Event()
    expected.CopyFrom(event)
    expected.timing.model_nano, expected.timing.logged_nano = model, logged
    expected.timing.clock_tag = clock_tag()
    expected.sequence, expected.epoch = sequence, epoch
    sealed = seal((payload, payload), epoch=epoch, first=sequence, logged_nano=logged)
    assert Event.FromString(sealed[0]) == expected
    expected.sequence += 1
    assert Event.FromString(sealed[1]) == expected


def test_a_sealed_event_has_each_field_once() -> None:
    """protobuf.js, and so every Node client, does not merge a message field that comes twice."""
    event = new_event(1)
    event.text_delta.content = "x"
    (sealed,) = seal((encode_payload(event, 5),), epoch=1, first=7, logged_nano=6)
    fields = []
    rest = sealed
    while rest:
        tag, at = _DecodeVarint(rest, 0)
        fields.append(tag >> 3)
        size, at = _DecodeVarint(rest, at)
        rest = rest[at + (size if tag & 7 == 2 else 0) :]
    assert fields == [3, 11, 4, 1, 2]


@pytest.mark.parametrize("field", ["text_delta", "reasoning_delta"])
@given(
    deltas=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8"), min_size=1) | st.just("x" * DELTA_REUSE_BYTES),
            st.integers(0, 2**32 - 1),
            st.integers(0, 2**62),
            U64,
        ),
        max_size=5,
    )
)
def test_a_delta_is_the_event_that_a_message_of_its_own_would_be(
    field: Literal["text_delta", "reasoning_delta"], deltas: list[tuple[str, int, int, int]]
) -> None:
    """Nothing of the deltas before it is left in it, whichever message they were encoded in."""
    encoder = DeltaEncoder(field)
    for content, token_count, unix_nano, model_nano in deltas:
        expected = new_event(unix_nano)
        delta = getattr(expected, field)
        delta.content, delta.token_count = content, token_count
        payload = encoder.encode(content, token_count, unix_nano, model_nano)
        assert payload == encode_payload(expected, model_nano)


def test_a_delta_that_can_not_be_encoded_does_not_spoil_the_next() -> None:
    """UTF-8 holds no lone surrogates."""
    encoder = DeltaEncoder("text_delta")
    with pytest.raises(UnicodeEncodeError):
        encoder.encode("\ud800", 1, 5, 5)
    expected = new_event(6)
    expected.text_delta.content, expected.text_delta.token_count = "x", 2
    assert encoder.encode("x", 2, 6, 6) == encode_payload(expected, 6)
