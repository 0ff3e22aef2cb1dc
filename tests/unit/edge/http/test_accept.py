"""What stock clients say in `Accept`, and what they get for it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.http.accept import MAX_RANGES, preferred

STREAM, JSON = "text/event-stream", "application/json"
OFFERS = (STREAM, JSON)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/event-stream",
        "application/json, text/plain, */*",  # axios, Angular
        "application/json, text/event-stream",
        "application/json;q=0.9, text/event-stream",
        "application/json;q=0.5, text/*",
        "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",  # HttpURLConnection
        "text/html",
        "application/json;q=0",
        "TEXT/Event-Stream; charset=utf-8, application/json",
        'application/json; profile="a, text/html"; q=0.2, text/event-stream; q=0.3',
        'application/json; note="x;q=1"; q=0.2, */*; q=0.3',
        ", ,;q=1, text/event-stream",
        "application/json, text/event-stream;q=high",
    ],
)
def test_a_stream_that_is_accepted_as_well_is_sent(accept: str) -> None:
    """Equal weights, no weight, or nothing that suits: the stream."""
    assert preferred(accept, OFFERS) == STREAM


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "APPLICATION/JSON; charset=utf-8",
        "application/*",
        "application/json, */*;q=0.5",  # HTTPie with --json
        "application/json, text/javascript, */*; q=0.01",  # jQuery
        "text/event-stream;q=0, */*",
        "text/event-stream; q = 0.4, application/json;Q=0.5",
        "text/*;q=0.1, text/event-stream;q=0.2, application/json;q=0.3",
        "text/event-stream;q=0, text/*;q=1, application/json;q=0.001",
        'application/json; profile="never closed',
        "application/json, text/plain",
        "application/json;q=7, */*;q=.5",
    ],
)
def test_json_is_sent_to_who_likes_it_better(accept: str) -> None:
    """It alone is named, or its weight is the greater one: of ranges that match, the most specific counts."""
    assert preferred(accept, OFFERS) == JSON


@given(st.text())
@example(";")
@example("text/html, ;")
def test_any_header_is_answered_with_an_offer(accept: str) -> None:
    """Nothing that a client sends makes it fail."""
    assert preferred(accept, OFFERS) in OFFERS


def test_only_so_many_ranges_are_looked_at() -> None:
    """A header of 32,000 would hold up all streams of the process; what comes behind is like none at all."""
    others = "a/b," * (MAX_RANGES - 1)
    assert preferred(f"{others}{JSON}", OFFERS) == JSON
    assert preferred(f"a/b,{others}{JSON}", OFFERS) == STREAM
