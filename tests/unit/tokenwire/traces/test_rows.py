from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.otlp_lines import SEGMENT_ROWS, STAGES, START_NS
from tokenwire.latency.segments import deltas
from tokenwire.traces.rows import Clock, Row, Segment, SegmentError, decode_deltas, rows_of, segment_of
from tokenwire.traces.spans import Span

US = 1_000


def segment_span(**attributes: object) -> Span:
    named = {f"tokenwire.tokens.{name}": value for name, value in attributes.items()}
    return Span("t" * 32, "s" * 16, "p" * 16, "tokens", "internal", 0, 0, named)  # type: ignore[arg-type]


@st.composite
def series(draw: st.DrawFn) -> dict[str, list[int]]:
    """Draw the stamps of a stream, whole microseconds apart, in no order at all: clocks may be wrong."""
    count = draw(st.integers(1, 300))
    seed = random.Random(draw(st.integers()))  # noqa: S311 - no secret
    widest = draw(st.sampled_from([1_000, 10**6, 10**9]))
    return {
        stage: [START_NS + seed.randrange(-widest, widest) * US for _ in range(count)] for stage in STAGES
    }


@given(series())
def test_rows_hold_the_very_stamps_that_were_encoded(stamps: dict[str, list[int]]) -> None:
    """Encoded by the rule, 128 rows to a segment, and read back: equal to the microsecond."""
    segments = []
    count = len(stamps["model"])
    for begin in range(0, count, SEGMENT_ROWS):
        parts = {stage: stamps[stage][begin : begin + SEGMENT_ROWS] for stage in STAGES}
        t0 = parts["model"][0]
        strings = {f"{stage}_us": deltas(part, t0) for stage, part in parts.items()}
        held = len(parts["model"])
        segments.append(segment_of(segment_span(first=begin + 1, count=held, t0_unix_ns=t0, **strings)))
    random.Random(1).shuffle(segments)  # noqa: S311 - no secret
    rows = rows_of(segments)
    assert [row.sequence for row in rows] == list(range(1, count + 1))
    assert [row.stamps for row in rows] == [
        {stage: stamps[stage][i] for stage in STAGES} for i in range(count)
    ]


@given(st.lists(st.integers(-(2**53), 2**53), min_size=1))
def test_decoding_undoes_differencing(numbers: list[int]) -> None:
    """Whatever the numbers are."""
    assert decode_deltas(deltas([number * US for number in numbers], 0)) == numbers


def test_stamps_between_microseconds_are_off_by_half_of_one_at_most() -> None:
    """The cumulative time is rounded: the error does not grow along a segment."""
    stamps = [START_NS + i * 1_234_567 for i in range(SEGMENT_ROWS)]
    (segment,) = [
        segment_of(
            segment_span(first=1, count=len(stamps), t0_unix_ns=stamps[0], model_us=deltas(stamps, stamps[0]))
        )
    ]
    assert all(
        abs(stamp - row.stamps["model"]) <= US // 2
        for stamp, row in zip(stamps, rows_of([segment]), strict=True)
    )


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        ({"count": 1, "t0_unix_ns": 0}, "tokenwire.tokens.first is missing"),
        ({"first": 1, "count": "x", "t0_unix_ns": 0}, "tokenwire.tokens.count is 'x'"),
        ({"first": 1, "count": 2, "t0_unix_ns": 0, "write_us": "1"}, "write_us has 1 stamps for 2 tokens"),
        ({"first": 1, "count": 1, "t0_unix_ns": 0, "write_us": "1.5"}, "invalid literal"),
    ],
)
def test_a_segment_that_is_none_is_told(attributes: dict[str, object], complaint: str) -> None:
    """What is wrong with it is named."""
    with pytest.raises(SegmentError, match=complaint):
        segment_of(segment_span(**attributes))


def test_hops_are_the_times_between_stages() -> None:
    """The first row's model time counts from the request, the next one's from the row before."""
    segment = Segment(
        5,
        2,
        START_NS,
        {"model": [10, 30], "logged": [11, 32], "send": [13, 35], "recv": [17, 40], "write": [25, 60]},
    )
    first, second = rows_of([segment], START_NS)
    assert first.hops == {"model": 10 * US, "log": 1 * US, "send": 2 * US, "link": 4 * US, "write": 8 * US}
    assert second.hops == {"model": 20 * US, "log": 2 * US, "send": 3 * US, "link": 5 * US, "write": 20 * US}
    assert (first.gap_ns, second.gap_ns) == (None, 35 * US)


def test_the_browsers_stage_is_merged_by_sequence() -> None:
    """It comes in segments of its own, cut elsewhere, some tokens missing."""
    live = Segment(1, 3, START_NS, {"recv": [0, 1, 2], "write": [5, 6, 7]}, clock=Clock(9, 2, "bounds"))
    browser = Segment(2, 2, START_NS + 10 * US, {"browser": [0, 4]})
    for order in ([live, browser], [browser, live]):
        rows = rows_of(order)
        assert [row.stamps.get("browser") for row in rows] == [None, START_NS + 10 * US, START_NS + 14 * US]
        assert [row.hops.get("browser") for row in rows] == [None, 4 * US, 7 * US]
        assert {row.clock.method for row in rows} == {"bounds"}


def test_the_pages_clock_is_corrected_by_its_own_offset() -> None:
    """The edge is 5 ms ahead of the page: a token that seems to come early took its time."""
    live = Segment(1, 1, START_NS, {"recv": [0], "write": [5]})
    browser = Segment(1, 1, START_NS, {"browser": [-4_000]}, clock=Clock(5_000, 300, "bounds"))
    (row,) = rows_of([live, browser])
    assert row.hops["browser"] == 995 * US
    assert (row.clock_of("browser").error_us, row.clock_of("link").error_us) == (300, 0)


def test_a_page_of_which_no_clock_is_known_has_stamps_and_no_hop() -> None:
    """It may be off by hours."""
    live = Segment(1, 1, START_NS, {"recv": [0], "write": [5]})
    browser = Segment(1, 1, START_NS, {"browser": [10**9]}, clock=Clock(method="none"))
    (row,) = rows_of([live, browser])
    assert "browser" not in row.hops
    assert row.stamps["browser"] == START_NS + 10**9 * US


def test_a_replayed_row_has_the_edges_hop_alone() -> None:
    """Its first stages were another stream's; the first live one has no row to count `model` from."""
    replayed = Segment(1, 2, START_NS, {"recv": [0, 0], "write": [9, 9]}, is_replayed=True)
    live = Segment(3, 1, START_NS, {"model": [20], "logged": [21], "send": [22], "recv": [23], "write": [24]})
    first, _, third = rows_of([replayed, live], START_NS)
    assert first.hops == {"write": 9 * US}
    assert first.same_write == 2
    assert third.hops == {"log": US, "send": US, "link": US, "write": US}
    assert third.gap_ns == 15 * US


def test_rows_of_one_write_know_how_many_they_are() -> None:
    """A single row is none."""
    segment = Segment(1, 5, START_NS, {"write": [1, 2, 2, 2, 9]})
    assert [row.same_write for row in rows_of([segment])] == [0, 3, 3, 3, 0]


def test_one_write_across_two_segments_is_one() -> None:
    """Each segment rounds from a time of its own: the same stamp may come out a microsecond apart."""
    first, second = (
        Segment(1, 2, START_NS + 900, {"write": [5, 5]}),
        Segment(3, 2, START_NS + 100, {"write": [5, 6]}),
    )
    assert [row.same_write for row in rows_of([first, second])] == [3, 3, 3, 0]


def test_a_skewed_clock_is_corrected_in_hops_and_never_in_stamps() -> None:
    """The edge is 500 µs ahead: of 520 µs that the stamps say, 20 were spent in the link."""
    stages = {"model": [0], "logged": [1], "send": [2], "recv": [522], "write": [530]}
    (row,) = rows_of([Segment(1, 1, START_NS, stages, clock=Clock(500, 30, "bounds"))])  # type: ignore[arg-type]
    assert row.hops["link"] == 20 * US
    assert row.stamps["recv"] - row.stamps["send"] == 520 * US
    assert row.edge_time("model") == START_NS + 500 * US
    assert row.end_ns == START_NS + 530 * US


def test_a_hop_may_come_out_negative() -> None:
    """The offset is known to its error only, and nothing is clamped."""
    stages = {"send": [0], "recv": [490], "write": [500]}
    (row,) = rows_of([Segment(1, 1, START_NS, stages, clock=Clock(500, 30, "bounds"))])  # type: ignore[arg-type]
    assert row.hops["link"] == -10 * US


def test_a_row_that_only_the_core_stamped_ends_at_send() -> None:
    """For callers without an edge the core owns the series."""
    rows = rows_of([Segment(1, 2, START_NS, {"model": [0, 7], "logged": [1, 8], "send": [2, 12]})])
    assert [row.end_stage for row in rows] == ["send", "send"]
    assert rows[1].gap_ns == 10 * US


def test_an_empty_row_has_no_end() -> None:
    """A segment without stages is no error."""
    (row,) = rows_of([Segment(1, 1, START_NS, {})])
    assert row == Row(1, segment=1)
    assert (row.end_stage, row.end_ns, row.begin_ns) == (None, 0, 0)
