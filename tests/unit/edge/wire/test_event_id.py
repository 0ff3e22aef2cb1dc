"""Event ids are read strictly: they come from outside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import RequestError
from edge.wire.event_id import START, Cursor, EventId, check_run_id, parse_event_id, resume_position

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"
OTHER_RUN_ID = RUN_ID[::-1]


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**63 - 1))
def test_an_id_that_was_written_is_read_back(epoch: int, sequence: int) -> None:
    """What a frame carries is what the client's cursor means, and it stays short enough for CORS."""
    event_id = EventId(RUN_ID, Cursor(epoch, sequence))
    assert parse_event_id(str(event_id)) == event_id
    assert len(str(event_id)) < 128


@pytest.mark.parametrize(
    "text",
    [
        "",
        RUN_ID,
        f"{RUN_ID}.1",
        f"{RUN_ID}.0.1",
        f"{RUN_ID}.1.-1",
        f"{RUN_ID}.1.01",
        f"{RUN_ID}.01.1",
        f"{RUN_ID}.1.1.1",
        f"{RUN_ID}.1.1\n",
        f" {RUN_ID}.1.1",
        f"{RUN_ID.upper()}.1.1",
        f"{RUN_ID[:-1]}.1.1",
        f"{RUN_ID}.4294967296.1",
        f"{RUN_ID}.1.9223372036854775808",
        f"{RUN_ID}.1.99999999999999999999",
        f"{RUN_ID}.\u0661.1",
        "../../etc/passwd.1.1",
        "\x00",
    ],
)
def test_what_is_no_event_id_is_refused(text: str) -> None:
    """A hostile or damaged cursor is a clear 400, never a position."""
    with pytest.raises(RequestError) as caught:
        parse_event_id(text)
    assert caught.value.http_status == 400


@given(st.text())
def test_any_text_is_either_an_id_or_refused(text: str) -> None:
    """No text makes the parser fail in another way."""
    try:
        parsed = str(parse_event_id(text))
    except RequestError as error:
        parsed = text if error.code == "INVALID_ARGUMENT" else error.code
    assert parsed == text


def test_a_run_id_is_checked_before_it_is_used() -> None:
    """What is no run id never reaches a core."""
    assert check_run_id(RUN_ID) == RUN_ID
    with pytest.raises(RequestError, match="run id"):
        check_run_id("nope")


def test_cursors_compare_by_epoch_first() -> None:
    """A later generation's event lies behind every earlier one."""
    assert Cursor(1, 9) < Cursor(2, 1) < Cursor(2, 2)


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
