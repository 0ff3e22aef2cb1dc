"""A reader's position: each event once, in order, none left out without word."""

from __future__ import annotations

import pytest

from tokenwire.client.progress import Progress, Verdict
from tokenwire.cursor import Cursor

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"
FRESH, KNOWN, MISSING = Verdict.FRESH, Verdict.KNOWN, Verdict.MISSING


@pytest.fixture
def dense() -> Progress:
    """A reader who is sent every event."""
    return Progress(RUN_ID, None, is_dense=True)


@pytest.fixture
def gappy() -> Progress:
    """A reader at an edge, which leaves out what it does not know."""
    return Progress(RUN_ID, None, is_dense=False)


def takes(progress: Progress, *events: tuple[int, int] | tuple[int, int, int]) -> list[Verdict]:
    """Take events, each as (epoch, sequence) or (epoch, sequence, merged from)."""
    return [
        progress.take(Cursor(event[0], event[1]), event[2] if len(event) == 3 else None) for event in events
    ]


def test_events_are_taken_in_order_and_once(dense: Progress) -> None:
    """What does not come next does not move the cursor."""
    seen = takes(dense, (1, 2), (1, 1), (1, 1), (1, 3), (1, 2), (1, 3))
    assert seen == [MISSING, FRESH, KNOWN, MISSING, FRESH, FRESH]
    assert (dense.cursor, dense.after) == (Cursor(1, 3), f"{RUN_ID}.1.3")


def test_without_an_event_there_is_nothing_to_follow_after(dense: Progress) -> None:
    """The server begins with the first event then."""
    assert (dense.cursor, dense.after) == (None, "")


def test_a_reader_may_begin_behind_an_event() -> None:
    """What it has already is skipped."""
    progress = Progress(RUN_ID, Cursor(1, 4), is_dense=True)
    assert progress.after == f"{RUN_ID}.1.4"
    assert takes(progress, (1, 4), (1, 5)) == [KNOWN, FRESH]


def test_a_higher_epoch_comes_after_all_of_the_lower_one(dense: Progress) -> None:
    """Whatever the sequences."""
    assert takes(dense, (1, 1), (1, 2), (2, 2), (1, 3)) == [FRESH, FRESH, FRESH, KNOWN]


def test_an_edge_may_leave_events_out(gappy: Progress) -> None:
    """Following again would not bring them."""
    assert takes(gappy, (1, 1), (1, 5), (1, 4)) == [FRESH, FRESH, KNOWN]


def test_a_merged_event_is_whole_or_asked_for_again(gappy: Progress) -> None:
    """One that begins with known text can't be cut."""
    assert takes(gappy, (1, 1), (1, 3), (1, 5, 3)) == [FRESH, FRESH, MISSING]
    assert gappy.after == f"{RUN_ID}.1.3"
    assert takes(gappy, (1, 5, 4), (1, 5, 3)) == [FRESH, KNOWN]


def test_after_a_trimmed_log_it_goes_on_where_the_log_begins(dense: Progress) -> None:
    """And follows again from there if the stream breaks at once: text is missing."""
    assert takes(dense, (1, 1)) == [FRESH]
    assert dense.resync(Cursor(1, 9))
    assert dense.after == f"{RUN_ID}.1.8"
    assert takes(dense, (1, 10), (1, 9)) == [MISSING, FRESH]


def test_of_a_log_that_lost_its_end_nothing_is_yielded_twice(dense: Progress) -> None:
    """What was read is skipped, so that nothing is missing; the terminal event of its new epoch is not."""
    assert takes(dense, (1, 1), (1, 2), (1, 3)) == [FRESH] * 3
    assert not dense.resync(Cursor(1, 1))
    assert dense.after == ""
    assert takes(dense, (1, 1), (1, 2), (2, 3)) == [KNOWN, KNOWN, FRESH]


def test_of_a_log_that_begins_anew_no_merged_event_yields_text_twice(gappy: Progress) -> None:
    """What follows the text that was read is asked for instead."""
    assert takes(gappy, (1, 1), (1, 3)) == [FRESH, FRESH]
    assert not gappy.resync(Cursor(1, 1))
    assert takes(gappy, (1, 5, 2)) == [MISSING]
    assert gappy.after == f"{RUN_ID}.1.3"
    assert takes(gappy, (1, 5, 4)) == [FRESH]
