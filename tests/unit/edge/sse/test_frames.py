"""Frames, byte for byte."""

from __future__ import annotations

import typing

import pytest

from edge.sse.frames import CONTROL_NAME, opening, write_control, write_event, write_opening, write_retry
from tokenwire import events


def test_a_frame_is_a_data_line_an_id_and_a_blank_line() -> None:
    """LF only: clients exist that never see the end of a CRLF frame. The id last: some take it at once."""
    out = bytearray()
    write_event(out, b"r.1.2", events.TextDelta(timestamp=3.0, content="a\r\nb"))
    assert out == b'data: {"type":"text_delta","timestamp":3.0,"content":"a\\r\\nb"}\nid: r.1.2\n\n'


def test_an_event_that_is_not_in_the_log_has_no_id() -> None:
    """Without an id the client's cursor stays where the log can serve it."""
    out = bytearray()
    write_event(out, b"", events.Error(timestamp=3.0, code="UNAVAILABLE", message="m", retryable=True))
    assert out.startswith(b"data: {")


@pytest.mark.parametrize(
    ("control", "frame"),
    [
        (events.Reconnect(retry_ms=5), b'retry: 5\nevent: reconnect\ndata: {"retryMs":5}\n\n'),
        (events.CaughtUp(cursor="r.1.2"), b'event: caught_up\ndata: {"cursor":"r.1.2"}\n\n'),
    ],
)
def test_a_control_is_named_and_has_no_id(control: events.ControlEvent, frame: bytes) -> None:
    """EventSource.onmessage does not see controls, and they move no cursor."""
    out = bytearray()
    write_control(out, control)
    assert out == frame


def test_every_control_has_a_name() -> None:
    """A new control fails here until it can be written."""
    assert set(CONTROL_NAME) == set(typing.get_args(events.ControlEvent))


def test_frames_are_appended() -> None:
    """Many frames leave in one write."""
    out = bytearray()
    write_opening(out, 7)
    write_event(out, b"r.1.1", events.TextDelta(timestamp=1.0, content="a"))
    assert out.startswith(b"retry: 7\n: open\ndata: {")


def test_a_time_to_come_back_ends_no_block() -> None:
    """It is a line of what follows: by itself it would be an empty message to some parsers."""
    out = bytearray()
    write_retry(out, 2500)
    assert out == b"retry: 2500\n"


def test_the_opening_has_the_reconnection_time() -> None:
    """No blank line: it is no message."""
    assert opening(12) == b"retry: 12\n: open\n"
