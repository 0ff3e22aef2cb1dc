"""The native dialect."""

from __future__ import annotations

import pytest

from edge.sse.dialects import NativeDialect
from tokenwire import events


def dialect(*, ping: bool = False) -> NativeDialect:
    made = NativeDialect(ping=ping)
    made.begin("run")
    return made


def test_an_event_in_the_log_has_the_id_that_resumes_after_it() -> None:
    """The id names the run: a repeated POST that carries it can't mean another run."""
    out = bytearray()
    dialect().write_event(out, 2, 7, events.TextDelta(timestamp=1.0, content="a"))
    assert out.endswith(b"\nid: run.2.7\n\n")


def test_an_event_outside_the_log_has_none() -> None:
    """The edge's own error moves no cursor."""
    out = bytearray()
    error = events.Error(timestamp=1.0, code="UNAVAILABLE", message="m", retryable=True)
    dialect().write_event(out, 0, 0, error)
    assert out.startswith(b"data: ")
    assert b"id:" not in out


@pytest.mark.parametrize(("tokens", "told"), [(1, b""), (3, b',"tokens":3')])
def test_a_delta_is_one_frame(tokens: int, told: bytes) -> None:
    """How many tokens it holds is told where it is not one."""
    frame = dialect().delta_frame((1, 2, 17638416001234, events.TextDelta, "a\n", tokens))
    data = b'{"type":"text_delta","timestamp":1763841600123.4,"content":"a\\n"%b}' % told
    assert frame == b"data: %b\nid: run.1.2\n\n" % data


def test_controls_are_named_events() -> None:
    """They are for clients that listen for them."""
    out = bytearray()
    dialect().write_control(out, events.Degraded(message="m"))
    assert out == b'event: degraded\ndata: {"message":"m"}\n\n'


@pytest.mark.parametrize(
    ("ping", "heartbeat"), [(False, b": heartbeat\n"), (True, b"event: ping\ndata: {}\n\n")]
)
def test_a_heartbeat_is_a_comment_or_a_ping(ping: bool, heartbeat: bytes) -> None:
    """Some clients take a comment for a message, others drop it."""
    out = bytearray()
    dialect(ping=ping).write_heartbeat(out)
    assert out == heartbeat


def test_it_has_no_headers_of_its_own() -> None:
    """Those that every stream has are enough."""
    assert dialect().headers() == ()


def test_a_stream_opens_with_a_time_to_come_back_and_ends_with_nothing() -> None:
    """Another time is a line of the block that follows."""
    out = bytearray()
    dialect().write_opening(out, 7)
    dialect().write_retry(out, 9)
    dialect().write_end(out)
    assert out == b"retry: 7\n: open\nretry: 9\n"
