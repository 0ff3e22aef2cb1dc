"""What both processes limit with."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tokenwire.limits import OverLimitError, Slots, StartRate, require_share, unlimited_share

WHO = st.sampled_from(["ann", "bob", "cy"])


def refusal(take: Callable[[], None]) -> OverLimitError | None:
    """Return the error with which something is refused; None when it is not."""
    try:
        take()
    except OverLimitError as error:
        return error
    return None


class SlotsMachine(RuleBasedStateMachine):
    """Principals take and release in any order; a plain list says what must hold."""

    IN_ALL, EACH = 4, 2

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(self.IN_ALL, self.EACH)
        self.open: list[str] = []

    @rule(who=WHO)
    def take(self, who: str) -> None:
        """A slot is given exactly when there is room."""
        error = refusal(lambda: self.slots.take(who))
        if self.open.count(who) >= self.EACH:
            assert error is not None
            assert (error.limit, error.most) == ("principal", self.EACH)
        elif len(self.open) >= self.IN_ALL:
            assert error is not None
            assert (error.limit, error.most) == ("all", self.IN_ALL)
        else:
            assert error is None
            self.open.append(who)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Any one that is open ends."""
        who = data.draw(st.sampled_from(self.open))
        self.open.remove(who)
        self.slots.release(who)

    @invariant()
    def counted(self) -> None:
        """What is counted is what is open, and nobody else is remembered."""
        assert self.slots.in_use == len(self.open) <= self.IN_ALL
        assert self.slots.principals == len(set(self.open))
        assert all(
            self.slots.held_by(who) == self.open.count(who) <= self.EACH for who in ("ann", "bob", "cy")
        )


TestSlots = SlotsMachine.TestCase
TestSlots.settings = settings(deadline=None)


@settings(deadline=None)
@given(
    per_minute=st.floats(0.5, 6000),
    burst=st.integers(1, 50),
    calls=st.lists(st.tuples(WHO, st.floats(0, 20)), max_size=120),
)
def test_starts_never_exceed_burst_and_rate(
    per_minute: float, burst: int, calls: list[tuple[str, float]]
) -> None:
    """In every interval there are at most `burst` starts and what the rate gives; waits are true."""
    rate = StartRate(per_minute, burst)
    now = 1000.0
    let_in: dict[str, list[float]] = {}
    for who, pause in calls:
        now += pause
        error = refusal(partial(rate.take, who, now))
        if error is None:
            let_in.setdefault(who, []).append(now)
            continue
        assert error.retry_after_s is not None
        assert 0 < error.retry_after_s <= 60 / per_minute * (1 + 1e-6)
        trial = StartRate(per_minute, burst)  # a copy: asking about the future makes one forget the present
        trial._full_at = rate._full_at.copy()
        assert refusal(partial(trial.take, who, now + error.retry_after_s * 0.999)) is not None
        trial.take(who, now + math.ceil(error.retry_after_s))
    for times in let_in.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                allowed = burst + (times[last] - times[first]) * per_minute / 60
                assert last - first + 1 <= allowed + 1e-6


def test_a_principal_that_rests_is_forgotten() -> None:
    """A million names leave nothing behind: memory is for those that started lately."""
    rate = StartRate(per_minute=60, burst=5)
    for number in range(10_000):
        rate.take(f"user {number}", now_s=number / 10)
    assert rate.principals <= 11


def test_after_a_rest_the_whole_burst_is_there_again() -> None:
    """And not more."""
    rate = StartRate(per_minute=60, burst=3)
    for now in (0.0, 1000.0):
        for _ in range(3):
            rate.take("ann", now)
        with pytest.raises(OverLimitError) as caught:
            rate.take("ann", now)
        assert (caught.value.limit, caught.value.most) == ("rate", 60)
        assert caught.value.retry_after_s == pytest.approx(1.0)
    rate.take("bob", 1000.0)


def test_a_start_that_started_nothing_is_given_back() -> None:
    """Once: not more than was taken, and nothing of one who took nothing."""
    rate = StartRate(per_minute=60, burst=1)
    rate.take("ann", 0.0)
    rate.give_back("ann")
    rate.give_back("bob")
    rate.take("ann", 0.0)
    assert refusal(lambda: rate.take("ann", 0.0)) is not None


@pytest.mark.parametrize(("most", "total"), [(1, 2), (99, 100), (5, 0), (0, 0), (0, 5)])
def test_a_share_that_leaves_something_is_sound(most: int, total: int) -> None:
    """Where there is no limit in all, there is nothing to lock others out of."""
    require_share("TOKENWIRE_EACH", most, "TOKENWIRE_ALL", total)
    assert bool(unlimited_share("TOKENWIRE_EACH", most, "TOKENWIRE_ALL", total)) == (most == 0 < total)


@pytest.mark.parametrize(("most", "total"), [(1, 1), (3, 2)])
def test_a_share_of_everything_is_refused(most: int, total: int) -> None:
    """Both variables are named, with their values."""
    with pytest.raises(
        ValueError, match=rf"^EACH \({most}\) must be less than ALL \({total}\): one principal"
    ):
        require_share("EACH", most, "ALL", total)
