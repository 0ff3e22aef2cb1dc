"""The stamps of one stream: rows, gaps, and which hop a stall is due to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.latency import HOPS
from tokenwire.latency.segments import MAX_ROWS, Segment
from tokenwire.latency.series import (
    BREAK,
    DELTA,
    OTHER,
    REPLAYED,
    REPLAYED_DELTA,
    Stall,
    TokenSeries,
    Waits,
)

MS = 1_000_000
STALL = 250 * MS
HOP_NANO = [0, MS // 100, MS // 50, MS // 10, MS // 20]
"""How long a token usually takes in each hop of the edge's five."""


class Stream:
    """A stream with an even pace, in which any hop can be held up."""

    def __init__(self, stages: int = 5) -> None:
        self.segments: list[Segment] = []
        self.waits: list[Waits] = []
        self.stalls: list[Stall] = []
        self.series = TokenSeries(
            stall_nano=STALL, on_segment=self.segments.append, on_waits=self.waits.append
        )
        self.stages = stages
        self.sequence = 0
        self.model_nano = 10**9
        self.free_at = [0] * stages  # when each hop is done with the token before

    def token(self, kind: int = DELTA, *, after_ms: float = 20, **held_ms: float) -> None:
        """Have an event go through all hops, one held up for so long in addition; hops keep the order."""
        self.sequence += 1
        self.model_nano += round((after_ms + held_ms.get("model", 0)) * MS)
        stamps = [self.model_nano]
        for stage in range(1, self.stages):
            done = stamps[-1] + HOP_NANO[stage] + round(held_ms.get(HOPS[stage], 0) * MS)
            stamps.append(max(done, self.free_at[stage]))
        self.free_at = stamps
        self.series.add((self.sequence, kind, *stamps[:-1]))
        self.series.take()
        stall = self.series.written(stamps[-1])
        if stall is not None:
            self.stalls.append(stall)

    def tokens(self, count: int) -> None:
        for _ in range(count):
            self.token()


def rows(segments: Sequence[Segment]) -> list[int]:
    return [segment.first + i for segment in segments for i in range(segment.rows)]


@pytest.mark.parametrize("hop", HOPS[:5])
def test_a_stall_is_the_token_that_was_held_up_and_the_hop_that_held_it(hop: str) -> None:
    """Not the tokens that were queued behind it, though each of them came as late."""
    stream = Stream()
    stream.tokens(50)
    stream.token(**{hop: 400})
    stream.tokens(60)
    assert [(stall.hop, stall.sequence) for stall in stream.stalls] == [(hop, 51)]
    (stall,) = stream.stalls
    assert 400 * MS <= stall.own_nano < 421 * MS
    assert not stall.open
    assert stream.series.stalls == 1
    assert stream.series.longest == stall


@pytest.mark.parametrize("hop", HOPS[:3])
def test_the_core_tells_its_own_hops_apart(hop: str) -> None:
    """With the three stages that it has of its direct callers."""
    stream = Stream(stages=3)
    stream.tokens(5)
    stream.token(**{hop: 400})
    stream.tokens(40)
    assert [(stall.hop, stall.sequence) for stall in stream.stalls] == [(hop, 6)]


@given(st.lists(st.tuples(st.sampled_from(HOPS[:5]), st.integers(300, 3000)), min_size=1, max_size=6))
def test_several_stalls_of_a_stream_are_each_told_once(planted: list[tuple[str, int]]) -> None:
    """Each at its token, once what queued up behind the one before has gone."""
    stream = Stream()
    expected = []
    for hop, held_ms in planted:
        stream.tokens(200)
        stream.token(**{hop: held_ms})
        expected.append((hop, stream.sequence))
    stream.tokens(200)
    assert [(stall.hop, stall.sequence) for stall in stream.stalls] == expected


def test_a_stall_begins_and_ends_where_the_token_entered_and_left_the_hop() -> None:
    """So a reader of the trace sees it at its place."""
    stream = Stream()
    stream.tokens(2)
    stream.token(link=400)
    (stall,) = stream.stalls
    stream.series.finish()
    (segment,) = stream.segments
    assert (stall.begin_nano, stall.end_nano) == (segment.columns[2][2], segment.columns[3][2])


def test_events_that_wait_behind_a_stall_are_told() -> None:
    """They say how much was held up."""
    stream = Stream()
    stream.tokens(2)
    for sequence in (3, 4, 5):
        stream.series.add((sequence, DELTA, *(stream.model_nano,) * 4))
    stream.series.take()
    stream.series.add((6, DELTA, *(stream.model_nano,) * 4))
    stall = stream.series.written(stream.model_nano + 400 * MS)
    assert stall is not None
    assert (stall.hop, stall.sequence, stall.behind) == ("write", 3, 3)


def test_a_pause_for_a_tool_is_no_stall() -> None:
    """One waits for the tool, not for the model; from the next token on gaps count again."""
    stream = Stream()
    stream.tokens(3)
    stream.token(BREAK)
    stream.token(BREAK, after_ms=5_000)
    stream.token(after_ms=800)
    assert stream.stalls == []
    stream.token(model=400)
    assert [(stall.hop, stall.sequence) for stall in stream.stalls] == [("model", 7)]


def test_progress_between_two_tokens_does_not_hide_their_gap() -> None:
    """The reader still waits for the text."""
    stream = Stream()
    stream.tokens(3)
    stream.token(OTHER, after_ms=200)
    stream.token(after_ms=200)
    assert [stall.hop for stall in stream.stalls] == ["model"]
    assert stream.stalls[0].gap_nano == pytest.approx(400 * MS, rel=0.01)


def test_the_time_before_the_first_token_is_no_gap() -> None:
    """It has a name of its own."""
    stream = Stream()
    stream.token(OTHER)
    stream.token(after_ms=5_000)
    assert stream.stalls == []
    assert stream.series.first_token_nano == stream.free_at[-1]
    stream.series.count()
    assert stream.series.tokens == 1


def test_what_is_written_together_has_one_gap() -> None:
    """The others of a merged frame have none to wait: 0."""
    stream = Stream()
    stream.tokens(2)
    for sequence in range(3, 8):
        stream.series.add((sequence, DELTA, *(stream.model_nano,) * 4))
    stream.series.take()
    stream.series.written(stream.model_nano + 100 * MS)
    stream.series.count()
    gaps = [gap for waits in stream.waits for gap in waits.gaps]
    assert gaps[-4:] == [0, 0, 0, 0]
    assert len(gaps) == stream.series.tokens - 1
    assert stream.series.gaps.count == 6


@given(
    st.lists(
        st.tuples(st.sampled_from([DELTA, OTHER, BREAK]), st.integers(0, 3), st.booleans()), max_size=600
    ),
    st.integers(0, 200),
)
def test_every_event_that_was_written_has_one_row_in_one_segment(
    events: list[tuple[int, int, bool]], replayed: int
) -> None:
    """Whatever is skipped, replayed, or written together; with the very stamps that were taken."""
    segments: list[Segment] = []
    series = TokenSeries(stall_nano=STALL, on_segment=segments.append)
    sequence, expected = 0, {}
    waiting: list[int] = []
    for number, (kind, skipped, write) in enumerate(events):
        sequence += 1 + (skipped if skipped == 3 else 0)
        stamps = tuple(1000 * number + stage + 1 for stage in range(4))
        old = number < replayed
        seen = (REPLAYED_DELTA if kind == DELTA else REPLAYED) if old else kind
        series.add((sequence, seen, *stamps))
        expected[sequence] = stamps
        waiting.append(sequence)
        if write:
            series.take()
            series.written(1000 * number + 500)
            expected |= {s: (*expected[s], 1000 * number + 500) for s in waiting}
            waiting.clear()
            assert series.last_sequence == sequence
    series.finish()
    found = {
        segment.first + i: tuple(column[i] for column in segment.columns)
        for segment in segments
        for i in range(segment.rows)
    }
    assert found == {s: stamps for s, stamps in expected.items() if s not in waiting}
    assert len(rows(segments)) == len(found)
    assert all(segment.rows <= MAX_ROWS for segment in segments)
    assert series.waiting == len(waiting)


def test_long_streams_give_their_segments_away_as_they_go() -> None:
    """Each of 128 rows; a stream of hours holds no more than that."""
    stream = Stream()
    stream.tokens(MAX_ROWS * 3 + 5)
    assert [(segment.first, segment.rows) for segment in stream.segments] == [
        (1 + MAX_ROWS * i, MAX_ROWS) for i in range(3)
    ]
    stream.series.finish()
    assert rows(stream.segments) == list(range(1, stream.sequence + 1))


def test_replayed_rows_are_apart_and_count_as_no_tokens() -> None:
    """Their gaps are those of an earlier reader."""
    stream = Stream()
    for sequence in range(1, 11):
        stream.series.add((sequence, REPLAYED_DELTA, sequence, sequence, 10**9, 10**9))
    stream.series.take()
    stream.series.written(10**9 + 1)
    stream.sequence = 10
    stream.tokens(5)
    stream.series.finish()
    assert [(segment.first, segment.rows, segment.replayed) for segment in stream.segments] == [
        (1, 10, True),
        (11, 5, False),
    ]
    assert stream.series.tokens == 5
    assert stream.stalls == []
    assert stream.series.first_token_nano == 10**9 + 1
    assert sum(len(waits.gaps) for waits in stream.waits) == 4


def test_a_stamp_that_was_not_taken_repeats_the_one_before() -> None:
    """The first one the next; so hops stay readable."""
    stream = Stream()
    stream.series.add((1, DELTA, 0, 7_000, 0, 9_000))
    stream.series.take()
    stream.series.written(10_000)
    stream.series.finish()
    (segment,) = stream.segments
    assert [column[0] for column in segment.columns] == [7_000, 7_000, 7_000, 9_000, 10_000]


def test_a_stall_that_is_not_over_is_told_at_the_end() -> None:
    """It is why people leave: the token that did not come is the one after the last."""
    stream = Stream()
    stream.tokens(4)
    now = stream.free_at[-1] + 2_000 * MS
    stall = stream.series.open_stall(now, "link")
    assert stall is not None
    assert (stall.hop, stall.sequence, stall.open) == ("link", 5, True)
    assert stall.own_nano == 2_000 * MS
    assert stream.series.stalls == 1


def test_a_stream_that_ends_soon_after_a_token_has_no_open_stall() -> None:
    """Nor one that waits for a tool, or for its first token."""
    stream = Stream()
    assert stream.series.open_stall(10**12, "model") is None
    stream.tokens(4)
    assert stream.series.open_stall(stream.free_at[-1] + STALL, "model") is None
    stream.token(BREAK)
    assert stream.series.open_stall(stream.free_at[-1] + 10 * STALL, "model") is None


def test_the_times_of_live_tokens_are_counted_once_by_hop() -> None:
    """As often as one asks, and whatever is cut meanwhile."""
    stream = Stream()
    for _ in range(3):
        stream.tokens(100)
        stream.series.count()
        stream.series.count()
    by_hop = [[nano for waits in stream.waits for nano in waits.hops[hop]] for hop in range(5)]
    assert by_hop[0] == [20 * MS] * 299
    assert [set(nanos) for nanos in by_hop[1:]] == [{nano} for nano in HOP_NANO[1:]]
    assert [len(nanos) for nanos in by_hop[1:]] == [300] * 4


def test_the_time_on_the_link_is_told_without_the_difference_of_the_clocks() -> None:
    """Where it is known; the stamps stay as they were taken."""
    stream = Stream()
    stream.series.link_offset_nano = 50 * MS
    stream.series.add((1, DELTA, 1, 2, 3, 3 + 51 * MS))
    stream.series.take()
    stream.series.written(4 + 51 * MS)
    stream.series.finish()
    assert stream.waits[0].hops[3] == [MS]
    assert stream.segments[0].columns[3][0] == 3 + 51 * MS


def test_a_pause_that_delayed_nothing_takes_no_blame() -> None:
    """The model was slow while the tokens before were held up: what is late now is due to the next hold."""
    stream = Stream()
    stream.tokens(50)
    stream.token(link=1_200)
    stream.tokens(20)
    stream.token(after_ms=800, link=1_200)
    stream.tokens(50)
    assert [(stall.hop, stall.sequence) for stall in stream.stalls] == [("link", 51), ("link", 72)]
