"""Whether the log can be reached."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent_core.runs.health import AWAY_S, BACK_S, LogHealth


def test_a_moment_without_the_log_is_not_told() -> None:
    """A failover of a second is not reported."""
    told: list[bool] = []
    health = LogHealth(told.append)
    health.there(0)
    health.away(1)
    health.away(2)
    health.there(2.5)
    health.away(3)
    assert (told, health.reachable, health.settled) == ([], True, False)


def test_a_log_that_stays_away_is_told_once_and_its_return_too() -> None:
    """Only when it has been there for a while."""
    told: list[bool] = []
    health = LogHealth(told.append)
    for second in range(5):
        health.away(second)
    assert told == [False]
    health.there(5)
    assert told == [False]
    health.away(6)
    health.there(7)
    health.there(7 + BACK_S)
    assert (told, health.settled) == ([False, True], True)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=60))
def test_it_never_changes_faster_than_it_believes(steps: list[tuple[bool, float]]) -> None:
    """Whatever the log does, two changes are apart by what it takes to believe them."""
    changes: list[tuple[float, bool]] = []
    now = 0.0
    health = LogHealth(lambda reachable: changes.append((now, reachable)))
    for there, pause in steps:
        now += pause
        (health.there if there else health.away)(now)
    assert [reachable for _, reachable in changes] == [bool(index % 2) for index in range(len(changes))]
    for (before, _), (after, reachable) in pairwise(changes):
        assert after - before >= (BACK_S if reachable else AWAY_S)
