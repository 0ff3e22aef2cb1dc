"""The limits of the edge."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.http.limits import LimitError, LimitPolicy, Limits, StartRate, StreamSlots

WHO = st.sampled_from(["ann", "bob", "cy"])


def limit_of(caught: pytest.ExceptionInfo[LimitError]) -> str:
    assert (caught.value.code, caught.value.http_status) == ("RESOURCE_EXHAUSTED", 429)
    return caught.value.details["limit"]


def refusal(take: Callable[[], None]) -> LimitError | None:
    """Return the error with which something is refused; None when it is not."""
    try:
        take()
    except LimitError as error:
        return error
    return None


class Slots(RuleBasedStateMachine):
    """Principals open and close streams in any order; a plain list says what must hold."""

    IN_ALL, EACH = 4, 2

    def __init__(self) -> None:
        super().__init__()
        self.slots = StreamSlots(self.IN_ALL, self.EACH)
        self.open: list[str] = []

    @rule(who=WHO)
    def take(self, who: str) -> None:
        """A slot is given exactly when there is room."""
        error = refusal(lambda: self.slots.take(who))
        if self.open.count(who) >= self.EACH:
            assert error is not None
            assert error.details["limit"] == "streams_per_principal"
        elif len(self.open) >= self.IN_ALL:
            assert error is not None
            assert error.details["limit"] == "streams"
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


TestSlots = Slots.TestCase
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
        with pytest.raises(LimitError) as caught:
            rate.take("ann", now)
        assert limit_of(caught) == "starts_per_minute"
        assert caught.value.retry_after_s == pytest.approx(1.0)
        assert caught.value.details["max"] == "60"
    rate.take("bob", 1000.0)


def test_a_stream_that_may_not_start_holds_no_slot() -> None:
    """And one without a slot counts as no start."""
    limits = Limits(
        LimitPolicy(streams=5, streams_per_principal=2, starts_per_minute=1, starts_burst=3), lambda: 0
    )
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(limits.stream("ann", starts=True))
        for _ in range(5):
            with pytest.raises(LimitError) as caught, limits.stream("ann", starts=True):
                pass
            assert limit_of(caught) == "streams_per_principal"
    assert limits.slots.in_use == 0
    limits.count_start("ann")
    with pytest.raises(LimitError) as caught, limits.stream("ann", starts=True):
        pass
    assert limit_of(caught) == "starts_per_minute"
    assert limits.slots.in_use == 0
    with limits.stream("ann", starts=False):
        assert limits.slots.in_use == 1


def test_a_slot_is_released_whatever_ends_the_stream() -> None:
    """Also by what is no Exception."""
    limits = Limits(LimitPolicy(streams=1), lambda: 0)
    for error in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), limits.stream("ann", starts=True):
            raise error
    assert (limits.slots.in_use, limits.slots.principals) == (0, 0)


def test_zero_means_without_limit() -> None:
    """Nothing is refused and nobody remembered."""
    limits = Limits(LimitPolicy(), lambda: 0)
    with ExitStack() as held:
        for _ in range(1000):
            held.enter_context(limits.stream("ann", starts=True))
    assert limits.starts.principals == 0
