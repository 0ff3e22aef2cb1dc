from typing import Any

import pytest

from tokenwire.cli.doors import Received
from tokenwire.cli.place import Place, Verdict, position_of

FRESH, KNOWN, MISSING = Verdict.FRESH, Verdict.KNOWN, Verdict.MISSING


def at(sequence: int, epoch: int = 1, **fields: Any) -> Received:
    return Received(f"r.{epoch}.{sequence}", "text_delta", fields)


@pytest.fixture
def place() -> Place:
    """A reader who is told of every event."""
    return Place(is_dense=True)


@pytest.fixture
def gappy() -> Place:
    """A reader at an edge, which leaves out what it does not know."""
    return Place(is_dense=False)


def takes(place: Place, *items: Received) -> list[Verdict]:
    return [place.take(item) for item in items]


def test_events_are_taken_in_order_and_once(place: Place) -> None:
    """What is not in its turn does not move the cursor."""
    assert takes(place, at(2), at(1), at(1), at(3), at(2), at(3)) == [
        MISSING,
        FRESH,
        KNOWN,
        MISSING,
        FRESH,
        FRESH,
    ]
    assert place.after == "r.1.3"


def test_a_higher_epoch_comes_after_all_of_the_lower_one(place: Place) -> None:
    """Whatever the sequences."""
    assert takes(place, at(1), at(2), at(2, epoch=2), at(3)) == [FRESH, FRESH, FRESH, KNOWN]


def test_an_edge_may_leave_events_out(gappy: Place) -> None:
    """Following again would not bring them."""
    assert takes(gappy, at(1), at(5), at(4)) == [FRESH, FRESH, KNOWN]


def test_a_merged_event_is_whole_or_asked_for_again(gappy: Place) -> None:
    """One that begins with known text can't be cut."""
    merged = at(5, **{"from": 3})
    assert takes(gappy, at(1), at(3), merged) == [FRESH, FRESH, MISSING]
    assert gappy.after == "r.1.3"
    assert takes(gappy, at(5, **{"from": 4}), merged) == [FRESH, KNOWN]


def test_an_error_of_the_edge_moves_nothing(place: Place) -> None:
    """It has no id."""
    assert takes(place, at(1), Received("", "error", {}), at(2)) == [FRESH, FRESH, FRESH]


def test_after_a_trimmed_log_it_goes_on_where_the_log_begins(place: Place) -> None:
    """And follows again from there, should the stream break at once."""
    assert takes(place, at(1)) == [FRESH]
    place.resync("r.1.9")
    assert place.after == "r.1.8"
    assert takes(place, at(10), at(9)) == [MISSING, FRESH]


def test_of_a_log_that_lost_its_end_nothing_is_shown_twice(place: Place) -> None:
    """What was shown is passed over; the terminal event of its new epoch is not."""
    assert takes(place, at(1), at(2), at(3)) == [FRESH] * 3
    place.resync("r.1.1")
    assert place.after == ""
    assert takes(place, at(1), at(2), at(3, epoch=2)) == [KNOWN, KNOWN, FRESH]


def test_of_a_log_that_begins_anew_no_merged_event_shows_text_twice(gappy: Place) -> None:
    """What follows the shown text is asked for instead."""
    assert takes(gappy, at(1), at(3)) == [FRESH, FRESH]
    gappy.resync("r.1.1")
    assert takes(gappy, at(5, **{"from": 2})) == [MISSING]
    assert gappy.after == "r.1.3"
    assert takes(gappy, at(5, **{"from": 4})) == [FRESH]


@pytest.mark.parametrize("text", ["", "r", "r.1", "r.1.x", "r..2", "r.1.2.3"])
def test_what_is_no_id_names_no_position(text: str) -> None:
    """It moves no cursor."""
    assert position_of(text) is None
