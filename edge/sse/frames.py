"""SSE frames: bytes on the wire, LF only.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from typing import Final

import msgspec

from tokenwire.events import CaughtUp, ControlEvent, Degraded, Reconnect, Resync, StreamEvent

HEARTBEAT_COMMENT: Final = b": heartbeat\n"
"""A comment in silence. No blank line follows: a comment alone is no block, and parsers that take
each block for a message (fetch-event-source does) see nothing."""

HEARTBEAT_PING: Final = b"event: ping\ndata: {}\n\n"
"""The same as a named event, for clients and proxies that drop comments."""

CONTROL_NAME: Final[dict[type[ControlEvent], bytes]] = {
    Resync: b"resync",
    CaughtUp: b"caught_up",
    Degraded: b"degraded",
    Reconnect: b"reconnect",
}
"""The `event:` name of each control."""

_encoder: Final = msgspec.json.Encoder()

quoted: Final = _encoder.encode
"""Returns a text as JSON. The encoder's own method, since each token passes here."""


def write_opening(out: bytearray, retry_ms: int) -> None:
    """Append a stream's first bytes: the reconnection time, and a comment that defeats buffering.

    Both are lines of the first event's block, so that no parser sees an empty message.

    Args:
        out: Appended to.
        retry_ms: How long a client that lost the stream waits, in milliseconds.
    """
    write_retry(out, retry_ms)
    out += b": open\n"


def opening(retry_ms: int) -> bytes:
    """Return what `write_opening` writes.

    Args:
        retry_ms: How long a client that lost the stream waits, in milliseconds.
    """
    out = bytearray()
    write_opening(out, retry_ms)
    return bytes(out)


def write_retry(out: bytearray, retry_ms: int) -> None:
    """Append the reconnection time: a line of the block that follows. Alone it would be an empty message.

    Args:
        out: Appended to.
        retry_ms: How long a client that lost the stream waits, in milliseconds.
    """
    out += b"retry: %d\n" % retry_ms


def write_event(out: bytearray, event_id: bytes, event: StreamEvent) -> None:
    """Append one event's frame.

    JSON escapes CR and LF inside strings, so the payload is one `data:` line and needs no splitting.

    The id comes behind it: there are clients (fetch-event-source) that go on behind an id as soon as they
    have read its line, so that one of a frame that was cut before its end would cost them the event.

    Args:
        out: Appended to.
        event_id: The id; empty for a frame without one, which moves no cursor.
        event: The event. Its raw JSON values hold no line breaks (`translate` sees to it).
    """
    out += b"data: "
    _encoder.encode_into(event, out, -1)
    if event_id:
        out += b"\nid: "
        out += event_id
    out += b"\n\n"


def write_control(out: bytearray, control: ControlEvent) -> None:
    """Append one control's frame. It has no id.

    That of `reconnect` also tells an `EventSource` how long to wait.

    Args:
        out: Appended to.
        control: The control.
    """
    if isinstance(control, Reconnect):
        write_retry(out, control.retry_ms)
    out += b"event: "
    out += CONTROL_NAME[type(control)]
    out += b"\ndata: "
    _encoder.encode_into(control, out, -1)
    out += b"\n\n"
