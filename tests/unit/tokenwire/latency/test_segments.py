"""Segments: strings from which every stamp can be read back."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from tokenwire.latency.segments import MAX_ROWS, Segment, deltas

BACKENDS_CUT_AT = 2048
DAY_NANO = 24 * 3600 * 1_000_000_000

stamps = st.lists(st.integers(-(10**9), 10**15), min_size=1, max_size=MAX_ROWS)


def read(text: str) -> list[int]:
    return list(accumulate(map(int, text.split(","))))


@given(stamps, st.integers(0, 10**15))
def test_each_stamp_can_be_read_back_to_the_microsecond(nanos: list[int], origin: int) -> None:
    """However many there are: errors do not add up."""
    for nano, micro in zip(nanos, read(deltas(nanos, origin)), strict=True):
        assert abs(nano - origin - micro * 1000) <= 500


def test_no_string_is_longer_than_backends_take() -> None:
    """Even where each token takes a day."""
    nanos = [DAY_NANO * i + 999 for i in range(MAX_ROWS)]
    assert len(deltas(nanos, 0)) < BACKENDS_CUT_AT


def test_a_live_segment_tells_all_stages_from_its_first_model_stamp_on() -> None:
    """Row i is the event first + i."""
    columns = ([1_000_000, 2_000_000], [1_005_000, 2_007_000], [1_010_000, 2_010_000])
    segment = Segment(7, columns, replayed=False)
    assert segment.strings(segment.begin_nano) == {"model": "0,1000", "logged": "5,1002", "send": "10,1000"}
    assert (segment.rows, segment.begin_nano, segment.end_nano) == (2, 1_000_000, 2_010_000)


def test_a_replayed_segment_tells_the_stages_of_the_edge_alone() -> None:
    """When the core had logged them is another story than this stream's."""
    columns = ([1_000], [2_000], [3_000], [900_000], [950_000])
    segment = Segment(1, columns, replayed=True)
    assert segment.strings(segment.begin_nano) == {"recv": "0", "write": "50"}
    assert segment.begin_nano == 900_000


def test_a_replayed_segment_of_the_core_tells_when_it_was_sent() -> None:
    """The one stage of its way that is this stream's."""
    segment = Segment(1, ([1_000], [2_000], [3_000]), replayed=True)
    assert segment.strings(segment.begin_nano) == {"send": "0"}
    assert (segment.begin_nano, segment.end_nano) == (3_000, 3_000)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=8), st.integers(0, 10**15))
def test_stamps_of_successive_segments_are_rounded_alike(gaps: list[int], offset: int) -> None:
    """Each is told as its own microsecond of the Unix time, so none seems to be before an earlier one."""
    nanos = list(accumulate(gaps, initial=10**9))
    for nano in nanos:
        segment = Segment(1, ([nano],), replayed=False)
        origin = segment.origin(offset)
        assert (origin + offset) % 1000 == 0
        assert read(segment.strings(origin)["model"]) == [0]
        for later in nanos:
            told = (origin + offset) // 1000 + read(deltas([later], origin))[0]
            assert told == (later + offset + 500) // 1000
