"""How far two wall clocks are apart: never surer than messages prove."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenwire.latency.clock_bounds import ClockBounds

MS = 1_000_000
NOW = 1_763_841_600_000 * MS

latencies = st.lists(
    st.tuples(st.integers(0, 50 * MS), st.integers(0, 50 * MS), st.integers(0, 5 * MS)), min_size=1
)


@given(st.integers(-3_600_000 * MS, 3_600_000 * MS), latencies)
def test_the_truth_is_always_within_the_error(ahead: int, round_trips: list[tuple[int, int, int]]) -> None:
    """However long messages take, and however unlike both ways are."""
    bounds, now = ClockBounds(), NOW
    for out, back, work in round_trips:
        bounds.answered(now, now + out + work - ahead)
        bounds.received(now + out + work - ahead, now + out + work + back)
        now += 1000 * MS
        offset = bounds.offset(now)
        assert offset is not None
        assert abs(offset.nano - ahead) <= offset.error_nano
    best = min(out + work for out, _, work in round_trips) + min(back for _, back, _ in round_trips)
    drifted = 2 * (now - NOW) * 50 // 1_000_000
    assert offset.error_nano <= (best + drifted) // 2 + 2


def test_nothing_is_claimed_before_a_message_went_each_way() -> None:
    """One side alone is no bound."""
    bounds = ClockBounds()
    assert bounds.offset(NOW) is None
    bounds.received(NOW, NOW + MS)
    assert bounds.offset(NOW) is None


def test_an_old_bound_gets_less_sure() -> None:
    """Clocks drift: 50 ppm are 3 ms a minute."""
    bounds = ClockBounds()
    bounds.answered(NOW, NOW)
    bounds.received(NOW, NOW)
    fresh, old = bounds.offset(NOW), bounds.offset(NOW + 60_000 * MS)
    assert fresh is not None
    assert old is not None
    assert (fresh.error_nano, old.error_nano) == (0, 3 * MS)


def test_a_clock_that_was_set_is_learnt_anew() -> None:
    """What was true before contradicts what is true now."""
    bounds = ClockBounds()
    for ahead in (0, 500 * MS):
        bounds.answered(NOW, NOW + MS - ahead)
        bounds.received(NOW + MS - ahead, NOW + 2 * MS)
    bounds.offset(NOW)
    bounds.answered(NOW, NOW + MS - 500 * MS)
    bounds.received(NOW + MS - 500 * MS, NOW + 2 * MS)
    offset = bounds.offset(NOW)
    assert offset is not None
    assert abs(offset.nano - 500 * MS) <= offset.error_nano
