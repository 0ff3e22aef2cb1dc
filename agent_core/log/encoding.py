"""Events as bytes: encoded once, sealed once with their number, never parsed again.

A *payload* is an encoded `Event` without its number, and what a log stores. It ends in its
`timing` field, and that in `logged_nano`, which is 0 until the log has accepted the event: sealing
overwrites these eight bytes and appends `sequence` and `epoch`. A second `timing` field to be
merged into the first would be shorter to say, but protobuf.js, and with it every Node client,
takes the last one instead of merging.

Source: https://protobuf.dev/programming-guides/encoding/#last-one-wins
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from tokenwire.telemetry.clock import clock_tag
from tokenwire.v1.event_pb2 import Event, ReasoningDelta, TextDelta

NANO: Final = 1_000_000_000

MAX_PAYLOAD_BYTES: Final = 1024 * 1024 - 8 * 1024
"""The largest payload. Responses hold at most 1 MiB: an event always fits into one, with its number
and the response's own fields."""

_TIMING: Final = b"\x22\x17\x09"
"""Field 4 of 23 bytes, which begin with field 1, a fixed64: the tag of Event.timing.model_nano."""

_CLOCK: Final = b"\x1d"
"""The tag of EventTiming.clock_tag: field 3, a fixed32."""

_LOGGED: Final = b"\x11"
"""The tag of EventTiming.logged_nano: field 2, a fixed64."""

_SEQUENCE: Final = b"\x08"
"""The tag of Event.sequence: field 1, a varint."""

_EPOCH: Final = b"\x10"
"""The tag of Event.epoch: field 2, a varint."""

_FIXED64_BYTES: Final = 8
_NOT_LOGGED: Final = _CLOCK + clock_tag().to_bytes(4, "little") + _LOGGED + bytes(_FIXED64_BYTES)

DELTA_REUSE_BYTES: Final = 16 * 1024
"""After how many bytes of payloads a DeltaEncoder takes a new message: of 20 characters, about 270."""

_VARINT_BITS: Final = 7
_MORE: Final = 0x80
_LAST_BYTE: Final = tuple(bytes((value,)) for value in range(_MORE))
_EARLIER_BYTE: Final = tuple(bytes((value | _MORE,)) for value in range(_MORE))


def new_event(unix_nano: int) -> Event:
    """Return an event that was made at a time, still without payload.

    Args:
        unix_nano: Unix time in nanoseconds.
    """
    event = Event()
    event.create_time.seconds, event.create_time.nanos = divmod(unix_nano, NANO)
    return event


def encode_payload(event: Event, model_nano: int) -> bytes:
    """Return the payload of an event that has neither number nor timing.

    Args:
        event: From `new_event`, with its oneof set.
        model_nano: When the agent yielded it, in nanoseconds of the monotonic clock.
    """
    return event.SerializeToString() + _TIMING + model_nano.to_bytes(_FIXED64_BYTES, "little") + _NOT_LOGGED


class DeltaEncoder:
    """Encodes the events of one kind of delta, which are nearly all events that there are.

    One Event serves many of them, since building it takes longer than encoding it (2 of 3.5 us). Not all:
    a message allocates from an arena that frees nothing before the message itself is freed, so every
    content that was ever assigned to it stays in memory until then.

    Args:
        field: "text_delta" or "reasoning_delta".

    Source: https://github.com/protocolbuffers/protobuf/blob/main/upb/mem/arena.h
    """

    def __init__(self, field: Literal["text_delta", "reasoning_delta"]) -> None:
        self._field = field
        self._renew()

    def encode(self, content: str, token_count: int, unix_nano: int, model_nano: int) -> bytes:
        """Return the payload of a delta.

        Args:
            content: At least one code point.
            token_count: How many tokens it holds.
            unix_nano: When it was made, in nanoseconds of Unix time.
            model_nano: The same moment, in nanoseconds of the monotonic clock.

        Raises:
            UnicodeEncodeError: UTF-8 can't hold the content.
        """
        # Every call sets every field.
        time, delta = self._time, self._delta
        time.seconds, time.nanos = divmod(unix_nano, NANO)
        delta.content = content
        delta.token_count = token_count
        payload = encode_payload(self._event, model_nano)
        self._left_bytes -= len(payload)  # What the arena took is less: the content alone.
        if self._left_bytes < 0:
            self._renew()  # Now, not at the next delta: after a long one there may be none for hours.
        return payload

    def _renew(self) -> None:
        """Encode into a new message, and free the old one with all that was assigned to it."""
        self._event = Event()
        self._time = self._event.create_time
        self._delta: TextDelta | ReasoningDelta = getattr(self._event, self._field)
        self._left_bytes = DELTA_REUSE_BYTES


def seal(payloads: Sequence[bytes], *, epoch: int, first: int, logged_nano: int) -> list[bytes]:
    """Return the whole encoded events of some payloads.

    Args:
        payloads: From `encode_payload`.
        epoch: The writer's generation.
        first: The number of the first of them; the others follow without holes.
        logged_nano: When the log accepted them, in nanoseconds of the monotonic clock.
    """
    logged = logged_nano.to_bytes(_FIXED64_BYTES, "little") + _SEQUENCE
    tail = _EPOCH + varint(epoch)
    if len(payloads) == 1:
        # As most are. What is short is put together first: 0.4 instead of 0.6 us.
        return [payloads[0][:-_FIXED64_BYTES] + (logged + varint(first) + tail)]
    return [
        payload[:-_FIXED64_BYTES] + (logged + varint(sequence) + tail)
        for sequence, payload in enumerate(payloads, first)
    ]


def varint(value: int) -> bytes:
    """Return a number as a base-128 varint.

    Args:
        value: 0 or more.
    """
    if value < _MORE:
        return _LAST_BYTE[value]
    if value < _MORE << _VARINT_BITS:
        return _EARLIER_BYTE[value & 0x7F] + _LAST_BYTE[value >> _VARINT_BITS]
    return _EARLIER_BYTE[value & 0x7F] + varint(value >> _VARINT_BITS)
