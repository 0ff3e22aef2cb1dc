"""A span's name for other processes."""

from __future__ import annotations

import pytest
from opentelemetry.trace import TraceState

from tokenwire.telemetry.traceparent import format_traceparent, parse_traceparent, unsampled

TEXT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_a_traceparent_is_told_as_it_was_read(flags: str) -> None:
    """With all flags: `02` says that the id is random, and samplers further on rely on it."""
    assert format_traceparent(parse_traceparent(TEXT + flags)) == TEXT + flags


@pytest.mark.parametrize("text", ["", "rubbish", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
def test_what_names_no_span_is_an_invalid_one(text: str) -> None:
    """The log of a run that was not sampled holds an empty one."""
    assert not parse_traceparent(text).is_valid


def test_unsampled_takes_only_the_one_flag_away() -> None:
    """The rest still names the span."""
    span = parse_traceparent(TEXT + "03")
    assert format_traceparent(unsampled(span)) == TEXT + "02"
    assert unsampled(span).trace_state == TraceState()
