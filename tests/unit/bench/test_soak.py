"""What a soak makes of what it has seen."""

from __future__ import annotations

import random
from typing import Any

import pytest

from bench.checking_clients import Order, Watched
from bench.mixed_load import KINDS, Tally, Times, draw_visit
from bench.soak import MIB, Plan, Series, growth_of, judge

PLAN = Plan(seconds=600)


def series(mib_a_minute: float = 0, threads: tuple[int, ...] = (9, 9, 9, 9)) -> Series:
    """Return what was seen of a core that grows so fast from 300 MiB on, and of an edge that does not."""
    seen = Series(warm_s=60)
    for second in range(0, 600, 5):
        # It swings: with one minute of more runs, it is higher for that minute.
        swing = 12 * MIB * (second // 60 % 2)
        seen.memory["core"].append((second, 300 * MIB + mib_a_minute * MIB * second / 60 + swing))
        seen.memory["edge"].append((second, 100 * MIB))
    seen.rows = [
        {"seconds": 100 * (number + 1), "core": {"threads": count}, "edge": {"threads": 8}}
        for number, count in enumerate(threads)
    ]
    return seen


def tally(**fields: Any) -> Tally:
    return Tally(**{"runs": 10, "ended_once": 10, **fields})


def test_a_straight_line_tells_growth_from_swings() -> None:
    """Of what it begins with."""
    assert growth_of([(0, 100), (1, 120), (2, 80), (3, 100), (4, 100)]) == pytest.approx(-0.04, abs=0.04)
    assert growth_of([(0, 100), (1, 105), (2, 110)]) == pytest.approx(0.1)


def test_a_process_that_swings_is_fine_and_one_that_grows_is_not() -> None:
    """By 5 % over nine minutes: 15 MiB here."""
    assert judge(PLAN, series(), tally(), {}) == []
    assert judge(PLAN, series(1), tally(), {}) == []
    (failure,) = judge(PLAN, series(3), tally(), {})
    assert failure.startswith("core: RSS grew by")


def test_growth_while_it_warms_up_does_not_count() -> None:
    """The log and the allocator come to their size in the first minute."""
    seen = series()
    seen.memory["core"] = [(when, size * min(1, 0.3 + when / 60)) for when, size in seen.memory["core"]]
    assert judge(PLAN, seen, tally(), {}) == []


def test_threads_that_become_more_and_more_are_told() -> None:
    """Those that came and stayed by the middle of it are a pool."""
    assert judge(PLAN, series(threads=(9, 12, 12, 12)), tally(), {}) == []
    assert judge(PLAN, series(threads=(9, 10, 11, 12)), tally(), {}) == ["core: threads went from 9 to 12"]


@pytest.mark.parametrize(
    ("fields", "left", "said"),
    [
        ({"lost": 1}, {}, "1 events lost"),
        ({"duplicated": 2}, {}, "2 came twice"),
        ({"ended_once": 9}, {}, "1 of 10 runs did not end once"),
        ({"faults": 1, "wrong": ["a gap"]}, {}, "a gap"),
        ({}, {"edge.tasks": "9, not 7"}, "edge.tasks is 9, not 7 at rest"),
    ],
)
def test_whatever_is_lost_or_left_fails(fields: dict[str, Any], left: dict[str, str], said: str) -> None:
    """Each by itself."""
    (failure,) = judge(PLAN, series(), tally(**fields), left)
    assert said in failure


def test_what_visitors_have_seen_is_added_up() -> None:
    """Of what was wrong the first things are kept, and all are counted."""
    seen = Tally()
    for number in range(30):
        run = Watched(Order((1,), 1, 0), run_id=f"r{number}", ends=["done"], lost=1, duplicated=2)
        run.wrong.append("odd")
        seen.take(run)
    assert (seen.runs, seen.ended_once, seen.lost, seen.duplicated, seen.faults) == (30, 30, 30, 60, 30)
    assert len(seen.wrong) == 20
    assert seen.as_json()["ends"] == {"done": 30}


def test_all_kinds_of_visits_come_and_the_same_seed_draws_the_same() -> None:
    """What they do lies within their runs."""
    first, second = ([draw_visit(lot, (1,), Times()) for _ in range(400)] for lot in _two_lots())
    assert first == second
    assert {visit.kind for visit in first} == KINDS.keys()
    for visit in first:
        assert all(deed.after <= visit.order.tokens + 2 + 10 for deed in visit.deeds)


def _two_lots() -> tuple[random.Random, random.Random]:
    return random.Random(3), random.Random(3)  # noqa: S311 # lots, no secret
