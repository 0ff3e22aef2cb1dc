"""The native dialect."""

from __future__ import annotations

from edge.sse.dialects.native import NativeDialect
from tokenwire import events


def test_an_event_in_the_log_has_the_id_that_resumes_after_it() -> None:
    """The id names the run: a repeated POST that carries it can't mean another run."""
    out = bytearray()
    NativeDialect("run").write_event(out, 2, 7, events.TextDelta(timestamp=1.0, content="a"))
    assert out.endswith(b"\nid: run.2.7\n\n")


def test_an_event_outside_the_log_has_none() -> None:
    """The edge's own error moves no cursor."""
    out = bytearray()
    error = events.Error(timestamp=1.0, code="UNAVAILABLE", message="m", retryable=True)
    NativeDialect("run").write_event(out, 0, 0, error)
    assert out.startswith(b"data: ")


def test_controls_are_named_events() -> None:
    """They are for clients that listen for them."""
    out = bytearray()
    NativeDialect("run").write_control(out, events.Degraded(message="m"))
    assert out == b'event: degraded\ndata: {"message":"m"}\n\n'
