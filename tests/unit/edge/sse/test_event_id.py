"""Event ids are read strictly: they come from outside."""

from __future__ import annotations

import pytest

from edge.errors import RequestError
from edge.sse.event_id import check_run_id, resume_position
from tokenwire.cursor import START, Cursor

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"
OTHER_RUN_ID = RUN_ID[::-1]


def test_a_run_id_is_checked_before_it_is_used() -> None:
    """What is no run id never reaches a core."""
    assert check_run_id(RUN_ID) == RUN_ID
    with pytest.raises(RequestError, match="run id"):
        check_run_id("nope")


@pytest.mark.parametrize(
    ("given", "position"),
    [
        ({}, START),
        ({"header": [""], "query": []}, START),
        ({"header": [""], "query": ["", f"{RUN_ID}.1.7"]}, Cursor(1, 7)),
        ({"header": [f"{RUN_ID}.2.3"], "query": [f"{RUN_ID}.1.7"]}, Cursor(2, 3)),
        ({"header": [f"{RUN_ID}.1.2"], "query": [f"{RUN_ID}.1.7"]}, Cursor(1, 2)),
        ({"query": [f"{RUN_ID}.1.7", f"{RUN_ID}.1.7"]}, Cursor(1, 7)),
    ],
)
def test_the_first_place_that_names_an_event_decides(given: dict[str, list[str]], position: Cursor) -> None:
    """A client that reconnects keeps the cursor of its URL, and says the newer one elsewhere."""
    assert resume_position(RUN_ID, given) == position


@pytest.mark.parametrize(
    "query",
    [
        ["x"],
        [f"{OTHER_RUN_ID}.1.1"],
        [f"{RUN_ID}.1.7", f"{OTHER_RUN_ID}.1.7"],
        [f"{RUN_ID}.1.7", f"{RUN_ID}.1.8"],
    ],
)
def test_a_cursor_that_can_not_be_meant_is_refused_where_it_stands(query: list[str]) -> None:
    """Damaged, another run's, or one of two: refused though another place decides."""
    given = {"header": [f"{RUN_ID}.1.9"], "query": query}
    with pytest.raises(RequestError) as caught:
        resume_position(RUN_ID, given)
    assert (caught.value.code, caught.value.details) == ("INVALID_ARGUMENT", {"field": "query"})
