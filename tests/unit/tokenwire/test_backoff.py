"""Waits after failures: longer each time, spread, and at last given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.backoff import Backoff


def waits(backoff: Backoff, *at_s: float) -> list[float | None]:
    """Return the waits after failures at these times."""
    return [backoff.failed(now_s) for now_s in at_s]


def test_each_wait_is_twice_as_long_up_to_the_most() -> None:
    """A server that stays away is asked less and less often."""
    backoff = Backoff(0.1, 1.0, spread=(1, 1))
    assert waits(backoff, 0, 1, 2, 3, 4, 5) == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert (backoff.failures, backoff.wait_s) == (6, 1.0)


def test_a_success_begins_anew() -> None:
    """The next failure is the first again."""
    backoff = Backoff(0.1, 1.0, spread=(1, 1))
    waits(backoff, 0, 1)
    backoff.succeeded()
    assert (backoff.failures, backoff.wait_s) == (0, 0.0)
    assert waits(backoff, 2) == [0.1]


def test_the_first_try_may_follow_at_once() -> None:
    """Where a failure is mostly that of one connection."""
    assert waits(Backoff(0.05, 0.5, spread=(1, 1), at_once=True), 0, 1, 2) == [0.0, 0.05, 0.1]


def test_a_failure_after_a_calm_time_is_the_first() -> None:
    """Nobody has to say that it went well meanwhile."""
    backoff = Backoff(0.1, 1.0, spread=(1, 1), calm_s=1.0)
    assert waits(backoff, 0, 0.5, 1.5) == [0.1, 0.2, 0.1]


def test_it_gives_up_when_the_next_try_would_be_too_late() -> None:
    """The time counts from the first failure since the last success."""
    backoff = Backoff(1.0, 4.0, spread=(1, 1), give_up_s=3.0)
    assert waits(backoff, 10, 11, 12) == [1.0, 2.0, None]
    backoff.succeeded()
    assert waits(backoff, 20) == [1.0]


def test_what_the_server_asks_for_is_the_least() -> None:
    """It counts against the time that is left, too."""
    backoff = Backoff(0.1, 1.0, spread=(1, 1), give_up_s=10.0)
    assert backoff.failed(0, at_least_s=5.0) == 5.0
    assert backoff.failed(5, at_least_s=6.0) is None


@given(st.floats(0, 1), st.integers(0, 5000))
def test_waits_are_spread_between_the_factors(chance: float, failures: int) -> None:
    """Clients of a failed server do not return all at once, however often they failed."""
    backoff = Backoff(0.1, 1.0, spread=(0.5, 1.5), chance=lambda: chance)
    backoff.failures = failures
    wait_s = backoff.failed(0)
    assert wait_s is not None
    assert wait_s == pytest.approx(min(1.0, 0.1 * 2.0 ** min(failures, 64)) * (0.5 + chance))
