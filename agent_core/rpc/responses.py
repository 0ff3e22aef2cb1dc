"""Streamed responses as bytes: events are encoded already and are only put into place.

StreamRunResponse and FollowRunResponse have the same fields under the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agent_core.log.contract import Position
from agent_core.log.encoding import varint
from agent_core.runs.follower import CaughtUp, Degraded, Draining, FollowItem, Resync
from tokenwire.v1.agent_service_pb2 import FollowRunResponse
from tokenwire.v1.run_pb2 import Cursor
from tokenwire.v1.stream_pb2 import Clock, Control

DRAIN_RETRY_MS: Final = 1_000
"""How long followers of a draining core are asked to wait before they follow again."""

DEGRADED: Final = "The answer is still being written, but can't be shown at the moment."
"""What followers are told while the log is away."""

LAG_TOLD_NANO: Final = 10_000_000
"""From what on readers are told that the event loop stood still."""

_LENGTH_DELIMITED: Final = 2


def tag(field_number: int) -> bytes:
    """Return the tag of a field that holds a message or a string."""
    return varint(field_number << 3 | _LENGTH_DELIMITED)


_RUN_ID: Final = tag(FollowRunResponse.RUN_ID_FIELD_NUMBER)
_CLOCK: Final = tag(FollowRunResponse.CLOCK_FIELD_NUMBER)
_EVENT: Final = tag(FollowRunResponse.EVENTS_FIELD_NUMBER)
_CONTROL: Final = tag(FollowRunResponse.CONTROL_FIELD_NUMBER)


class ResponseEncoder:
    """Builds the responses of one stream.

    Args:
        run_id: The run that the stream speaks of.
        clock_id: Names the clock of its stamps.
    """

    def __init__(self, run_id: str, clock_id: int) -> None:
        encoded_id = run_id.encode()
        clock = Clock(id=clock_id, send_nano=1).SerializeToString()
        # Up to the eight bytes of send_nano, which come last: they alone differ between messages.
        self._head = b"".join(
            (_RUN_ID, varint(len(encoded_id)), encoded_id, _CLOCK, varint(len(clock)), clock[:-8])
        )
        self._first_head = b"".join((_RUN_ID, varint(len(encoded_id)), encoded_id, _CLOCK))
        self._clock_id = clock_id
        self._is_first = True

    def encode(self, given: FollowItem, send_nano: int, send_unix_nano: int, loop_lag_nano: int = 0) -> bytes:
        """Return the response that tells what a follower was given.

        Args:
            given: Events or a control.
            send_nano: Now, in nanoseconds of the monotonic clock.
            send_unix_nano: The same moment in Unix time. Told in the first response only.
            loop_lag_nano: How long this process's event loop stood still since the response before.
        """
        if isinstance(given, CaughtUp | Resync | Draining | Degraded):
            control = control_of(given).SerializeToString()
            fields: Iterable[bytes] = (_CONTROL, varint(len(control)), control)
        else:
            fields = _events(given.events)
        if self._is_first or loop_lag_nano:
            clock = Clock(id=self._clock_id, send_nano=send_nano, loop_lag_nano=loop_lag_nano)
            if self._is_first:
                clock.send_unix_nano, self._is_first = send_unix_nano, False
            encoded = clock.SerializeToString()
            return b"".join((self._first_head, varint(len(encoded)), encoded, *fields))
        return b"".join((self._head, send_nano.to_bytes(8, "little"), *fields))


def _events(events: Iterable[bytes]) -> list[bytes]:
    """Return the fields that hold some events."""
    fields: list[bytes] = []
    for event in events:
        fields += (_EVENT, varint(len(event)), event)
    return fields


def control_of(given: CaughtUp | Resync | Draining | Degraded) -> Control:
    """Return a control."""
    control = Control()
    match given:
        case CaughtUp():
            control.caught_up.cursor.CopyFrom(cursor_of(given.cursor))
        case Resync():
            control.resync.first.CopyFrom(cursor_of(given.first))
            control.resync.last.CopyFrom(cursor_of(given.last))
            control.resync.reason = given.reason
        case Draining():
            control.draining.retry_ms = DRAIN_RETRY_MS
        case Degraded():
            control.degraded.message = DEGRADED
    return control


def cursor_of(position: Position) -> Cursor:
    """Return a position as the contract says it."""
    return Cursor(epoch=position.epoch, sequence=position.sequence)
