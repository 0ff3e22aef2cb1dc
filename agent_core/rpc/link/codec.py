"""LinkResponses as bytes: events are encoded already and are only put into place. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from agent_core.errors import RefusalError
from agent_core.log.encoding import varint
from agent_core.rpc.responses import DRAIN_RETRY_MS, control_of, tag
from agent_core.runs.follower import CaughtUp, Degraded, Draining, Resync
from tokenwire.v1 import stream_pb2
from tokenwire.v1.event_pb2 import Error
from tokenwire.v1.link_pb2 import LinkBatch, LinkEnd, LinkResponse, LinkWelcome
from tokenwire.v1.stream_pb2 import Clock

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""The largest message: receivers refuse 4 MiB by default, and a large one holds up what comes after it."""

_VARINT: Final = 0
_FIXED64: Final = 1

_FOLLOW_ID: Final = varint(LinkBatch.FOLLOW_ID_FIELD_NUMBER << 3 | _VARINT)
_EVENT_BYTES: Final = varint(LinkBatch.EVENT_BYTES_FIELD_NUMBER << 3 | _VARINT)
_RUN_ID: Final = tag(LinkBatch.RUN_ID_FIELD_NUMBER)
_EVENT: Final = tag(LinkBatch.EVENTS_FIELD_NUMBER)
_CONTROL: Final = tag(LinkBatch.CONTROL_FIELD_NUMBER)
_END: Final = tag(LinkBatch.END_FIELD_NUMBER)

_CLOCK: Final = tag(LinkResponse.CLOCK_FIELD_NUMBER)
_BATCH: Final = tag(LinkResponse.BATCHES_FIELD_NUMBER)
_HELLO: Final = tag(LinkResponse.HELLO_FIELD_NUMBER)
_DRAINING: Final = tag(LinkResponse.DRAINING_FIELD_NUMBER)

END: Final = _END + varint(0)
"""The field of a LinkBatch that says that its follow is over, and nothing has failed."""

RETRYABLE: Final = frozenset({"ABORTED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
"""Codes of refusals of requests that may succeed when they are sent again."""


def follow_fields(follow_id: int, run_id: str = "") -> bytes:
    """Return the first fields of a LinkBatch: which follow it is for.

    Args:
        follow_id: The follow.
        run_id: The run; empty in all batches but the first.
    """
    fields = _FOLLOW_ID + varint(follow_id)
    return fields + _field(_RUN_ID, run_id.encode()) if run_id else fields


def events_batch(follow: bytes, events: Sequence[bytes], end: bytes = b"") -> tuple[bytes, int]:
    """Return a batch as a field of a LinkResponse, and how many bytes of credit its events take.

    Args:
        follow: From `follow_fields`.
        events: Whole encoded events; none in a batch that only ends a follow.
        end: `END` after the terminal event, else nothing.
    """
    if len(events) == 1:  # Nearly always: one token. Two thirds of the time of what is below.
        (event,) = events
        length = varint(len(event))
        batch = b"%b%b%b%b%b%b%b" % (follow, _EVENT, length, event, end, _EVENT_BYTES, length)
        return _field(_BATCH, batch), len(event)
    parts, size_bytes = [follow], 0
    for event in events:
        size_bytes += len(event)
        parts += (_EVENT, varint(len(event)), event)
    parts.append(end)
    if size_bytes:
        parts += (_EVENT_BYTES, varint(size_bytes))
    return _field(_BATCH, b"".join(parts)), size_bytes


def control_batch(follow: bytes, control: CaughtUp | Resync | Draining | Degraded) -> bytes:
    """Return a batch that tells of a control, as a field of a LinkResponse."""
    encoded = control_of(control).SerializeToString()
    return _field(_BATCH, follow + _field(_CONTROL, encoded))


def refusal_batch(follow: bytes, refusal: RefusalError, known_as: str) -> bytes:
    """Return a batch that ends a follow with a refusal, as a field of a LinkResponse.

    Args:
        follow: From `follow_fields`.
        refusal: Why the follow can't be served.
        known_as: What the log knows the refusal by: its trace's id.
    """
    end = LinkEnd(error=error_of(refusal, known_as))
    return _field(_BATCH, follow + _field(_END, end.SerializeToString()))


def error_of(refusal: RefusalError, known_as: str) -> Error:
    """Return a refusal as the error that ends a follow: all that the status of a call would say.

    Args:
        refusal: The refusal.
        known_as: What the log knows it by.
    """
    details = {"reason": refusal.reason, **refusal.metadata}
    if refusal.violations:
        violation = refusal.violations[0]
        details |= {"field": violation.field, "violation": violation.description}
    if refusal.retry_after_s is not None:
        details["retry_after_ms"] = str(round(refusal.retry_after_s * 1000))
    return Error(
        code=refusal.code,
        message=refusal.message,
        retryable=refusal.code in RETRYABLE,
        details=details,
        trace_id=known_as,
    )


def welcome(incarnation: str) -> bytes:
    """Return what answers a hello, as a field of a LinkResponse."""
    return _field(_HELLO, LinkWelcome(incarnation=incarnation).SerializeToString())


def draining() -> bytes:
    """Return what tells that the core goes down, as a field of a LinkResponse."""
    return _field(_DRAINING, stream_pb2.Draining(retry_ms=DRAIN_RETRY_MS).SerializeToString())


class MessageEncoder:
    """Puts the fields of LinkResponses together, with the clock in front.

    Args:
        clock_id: Names the clock of the stamps.
    """

    def __init__(self, clock_id: int) -> None:
        id_field = varint(Clock.ID_FIELD_NUMBER << 3 | _FIXED64) + clock_id.to_bytes(8, "little")
        self._id = id_field + varint(Clock.SEND_NANO_FIELD_NUMBER << 3 | _FIXED64)
        self._unix = varint(Clock.SEND_UNIX_NANO_FIELD_NUMBER << 3 | _FIXED64)
        self._lag = varint(Clock.LOOP_LAG_NANO_FIELD_NUMBER << 3 | _VARINT)

    def message(
        self, fields: Iterable[bytes], send_nano: int, send_unix_nano: int, loop_lag_nano: int = 0
    ) -> bytes:
        """Return a whole LinkResponse.

        Args:
            fields: All but the clock, in the order of their numbers.
            send_nano: Now, in nanoseconds of the monotonic clock.
            send_unix_nano: The same moment in Unix time.
            loop_lag_nano: How long the event loop stood still since the message before.
        """
        clock = b"%b%b%b%b" % (
            self._id,
            send_nano.to_bytes(8, "little"),
            self._unix,
            send_unix_nano.to_bytes(8, "little"),
        )
        if loop_lag_nano:
            clock += self._lag + varint(loop_lag_nano)
        return b"".join((_CLOCK, varint(len(clock)), clock, *fields))


def _field(number: bytes, value: bytes) -> bytes:
    """Return a field that holds a message or a string."""
    return b"%b%b%b" % (number, varint(len(value)), value)
