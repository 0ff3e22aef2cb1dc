"""Event ids are read strictly: they come from outside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.cursor import Cursor, EventId, is_run_id, parse_event_id, tag_of

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"


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
    """A hostile or damaged cursor is refused, never read as a position."""
    with pytest.raises(ValueError, match="Invalid event id"):
        parse_event_id(text)


@given(st.text())
def test_any_text_is_either_an_id_or_refused(text: str) -> None:
    """No text makes the parser fail in another way."""
    try:
        parsed = str(parse_event_id(text))
    except ValueError:
        return
    assert parsed == text


def test_a_run_id_is_known_by_its_form() -> None:
    """Whoever minted it: its first characters name the core's incarnation."""
    assert is_run_id(RUN_ID)
    assert tag_of(RUN_ID) == "k7q2"


@pytest.mark.parametrize(
    "text", ["", "a" * 29, "a" * 31, "A" * 30, "a" * 29 + ".", "a" * 29 + "\n", "ä" * 30, "a" * 30 + "\n"]
)
def test_other_texts_are_no_run_ids(text: str) -> None:
    """Only 30 of [0-9a-z]."""
    assert not is_run_id(text)


def test_cursors_compare_by_epoch_first() -> None:
    """A later generation's event lies behind every earlier one."""
    assert Cursor(1, 9) < Cursor(2, 1) < Cursor(2, 2)
